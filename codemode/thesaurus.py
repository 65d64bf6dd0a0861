"""What people say and what tools are called: groups of words for one thing, the vocabulary of APIs in general.

A line is `said : written`. Who says a word of the left means tools that have a word of the right in their names or
first sentences; words of the right mean each other. `a_b` is two words in a row. Narrow groups find better than wide
ones: what many tools have says little of any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

GROUPS = """\
make new set_up setup generate build put: create add new
open start begin: create open start
add insert append attach include join invite: add create
remove erase destroy wipe take_away take_off get_rid drop: delete remove
discard clear forget empty throw_away flush invalidate: purge clear delete empty
change modify adjust correct fix alter set: update edit set
replace renew swap regenerate roll: replace rotate renew refresh regenerate
list show all overview which browse: list
get show view read details info tell: get read
open read look: read open get
count how_many number total: count total stats metrics
search find look_for look_up locate: search find query lookup
send submit give deliver: send push submit post
publish go_live online release roll_out ship: publish deploy deployment release
deploy deployment put_online: deploy deployment version
upload put import bring transfer: upload import put
save store keep: write put store save
download fetch take_out as_a_file backup dump: download export
copy clone duplicate: copy clone duplicate fork
migrate move transfer copy_from copy_everything: migrate migration slurper transfer move
move rename relocate: move rename
run execute start launch kick_off trigger begin: run execute start create trigger launch invoke
stop cancel abort end kill halt: stop cancel abort end
pause suspend: pause suspend status
continue resume: resume status
enable switch_on turn_on activate: enable activate edit
disable switch_off turn_off deactivate stop: disable deactivate
undo go_back previous revert roll_back: rollback restore revert
restore recover yesterday earlier point_in_time: restore time_travel bookmark
check verify validate test correct right still_work valid: check verify validate test inspect
compare difference differ versus: diff compare
block ban deny forbid blacklist reject: access_rule block blocklist
block ban filter firewall protect: firewall waf
allow let permit whitelist grant only: allow policy access
limit throttle restrict cap how_often: rate_limit limit quota
warn alert notify notification tell_me inform remind breaks: alerting alert notification
alert notify warning: alerting_policy policy alert_policies
watch monitor observe live_logs tail: tail live monitor
wait line waiting_line queue_up crowd: waiting_room waiting
fast slow speed performance latency quick slowest fastest load_time: speed performance quality latency
slow slowest route_to hop path_to traceroute: traceroute trace
health alive healthy reachable up down available uptime: health healthcheck monitor
status happening state progress right_now currently: status progress current active
schedule every_day every_night every_hour nightly cron daily hourly periodically regularly timer: schedule cron
expire old expired days automatically retention: lifecycle expire retention expiration
history past earlier recent recently last_month last_week previous: history
log logs logging: log logs
who_changed who_did audit trail changed_by did_what: audit
recently signed_in who_was last_login: last_seen access_request active_session login
error fail failed failure crash went_wrong broken: error failure log
build_fail build_failed deployment_log build_log: deployment_history deployment log history_log
event happened: event
version revision: version revision
worker function serverless lambda edge_code: worker script
code source program: script content code
website webpage frontend static: page site
site website domain: zone
site website: zone
url link address web_address webpage website: url
redirect: redirect page_rule
redirect rewrite header modify: rulesets ruleset transform
header headers: header managed_transform transform
dns nameserver name_server resolve record: dns dns_record record
point hostname subdomain www mx cname txt: dns_record hostname
zone_file bind: dns_record import export
dns_query dns_queries lookups: dns_analytics dns
certificate https ssl tls padlock encryption: certificate ssl tls
own_certificate bring_certificate: custom_certificate
domain_name domain buy register: registrar registration
free available taken still_free: registrar_check check availability
owner owns belongs whose who_owns registrant: whois owner
customer_domain own_domain vanity white_label: custom_hostname custom_domain domain
ip address: ip address
network subnet prefix range: prefix network subnet
announce advertise bgp: advertisement bgp prefix
network asn autonomous_system operator provider isp: asn ases
vpn tunnel office branch private_network: tunnel
slow_connection connection_problem network_problem reach: traceroute diagnostics
encrypted_tunnel site_to_site office ipsec: ipsec ipsec_tunnel
connect connection link: connect connection connector tunnel
daemon agent connector: cloudflared connector
secret_needed token secret: token secret
packet packets sniff capture_traffic: pcap packet capture
port tcp udp game forwarding: spectrum tcp udp port
balance load_balance distribute spread failover: load_balancer
server servers origin backend machine: origin pool server
cached cache cdn: cache
rule rules: rule ruleset
visitor visitors traffic hits page_views audience: analytics rum traffic visitor
cookies cookie cookieless: rum web_analytics cookie
statistics stats report numbers chart: analytics summary stats report
over_time trend development growth: timeseries trend
share percentage proportion breakdown versus split: summary
share percentage market_share most_used: top summary
popular popularity ranking rank biggest top best most most_visited: top ranking
country where location region europe asia world germany france america: country location region
which_country geolocate country_of: intel geolocation asn
outage outages shutdown disruption down: outage
attack ddos attacker attacking: attack
origin_of come_from source: origin source
company industry business sector: industry
threat threats hacker attacker attacking attackers: threat attacker threat_event
dangerous malicious malware suspicious risky unsafe safe: scanner url_scanner threat intel
phishing fake scam impersonate lookalike look_like: phishing brand_protection impersonation
leak leaked breach stolen password_leak: leaked_credential leaked
leaking sensitive confidential personal_data credit_card social_security data_loss: dlp dlp_profile dlp_entry
bot bots robot crawler crawl scraper: bot crawler
robot machine automation headless service_account machine_login: service_token access_token
captcha human prove_human: turnstile challenge
challenge suspicious_visitor: access_rule challenge firewall_rule
browser chrome firefox safari edge: browser
mobile desktop phone tablet: device_type
javascript third_party_script checkout runs_on: page_shield script
vulnerability weakness hole security_problem security_settings: insight vulnerability security_center finding
copyright infringement abuse violation report: abuse_report abuse
employee staff colleague team coworker people: member user
employees browsing web_filter social_media: gateway_rule category
invite join colleague: member
account organization organisation tenant: account organization
customer client buyer: customer
client buyer: customer
role permission rights allowed: permission role
login log_in sign_in signin logon authenticate: login access identity
log_out logout sign_out signed_out log_off: revoke session
log_user_out session kill_session: revoke_token revoke_user
google okta github saml oidc sso single_sign_on login_method: identity_provider sso
password secret credential passphrase: secret credential
api_key key access_key: token api_token
laptop computer phone device enrolled: device registration
lost stolen kick: revoke
internal wiki intranet private_app app: access_application application
only_staff who_may access allowed: access_policy access
bill invoice pay paid payment money spend spent charge cost costs: billing billing_history invoice usage
owe debt overdue unpaid outstanding: unpaid debt
credit_card payment_method bank_account: payment_method payment
money_back refund reimburse give_back: refund
plan subscription tier upgrade downgrade cheaper: subscription plan
budget spending cap keep_under control: spending_limit limit
discount coupon rebate voucher reduction: voucher coupon discount
earn income turnover revenue sales: revenue sales
sell bestseller popular sold best_selling: top product selling
reorder run_out running_out sold_out inventory stock: stock reorder inventory
product article item goods: product item
purchase order bought: order
package parcel shipment box: parcel shipment
courier delivery_service delivery carrier: carrier shipment
where_is track whereabouts: track status
postage shipping_cost cost price: quote postage price
late delayed overdue slow: late delay performance
lost missing arrived gone: lost
hold holiday vacation later: hold
problem issue bug complaint complain request case: ticket issue
support helpdesk help: support ticket agent
solved done finished resolved mark: close resolve
hand assign pass delegate give: assign
reply answer respond: comment reply
happy satisfied unhappy rating feedback: satisfaction rating feedback
mail email mailbox inbox: email mail
forward_mail mail_forward forwarding forward alias: email_routing routing
sender from_address: sender block_sender
spf dmarc dkim: spf dmarc
message text: message
queue job_queue: queue
receive consume pull waiting pick_up: pull receive peek
chat slack teams discord webhook callback: webhook destination
file document attachment: file object
several multiple many at_once batch bulk: multiple bulk batch
picture image photo logo icon: image picture
picture snapshot looks_like looks appearance photo: screenshot
video movie film clip: stream video
subtitle caption transcript: caption
camera broadcast livestream go_live live: live_input live livestream
watermark overlay logo_over stamp: watermark
size sizes dimension resize thumbnail: size variant
video_call conference meeting group_call: meeting
meeting call conference: session
said spoken conversation talked minutes: transcript summary chat
record recording: recording
kick throw_out remove_participant: kick participant
call participant attendee guest somebody: participant
pdf print: pdf
markdown: markdown
scrape extract crawl: scrape crawl content
bucket storage object_store s3 blob file_storage store_files: bucket
s3 amazon: sippy slurper
disk_usage how_much_data how_big storage_used data: metrics usage storage
cross_origin cors another_origin browsers: cors
folder directory: directory
structure tree hierarchy nested: tree
key_value kv store value: kv
database sql table: database query
far_away distant accelerate pooling: hyperdrive
vector embedding similar semantic: vector vectorize
similar nearest alike closest: query similar
ai llm language_model model gpt machine_learning: ai model
ask prompt question chat: run chat completion
ai_cost ai_request ai_spending ai_usage: ai_gateway
knowledge remember memory: entity knowledge_graph
remember note learn: create_entity add_observation create_relation
fact note detail observation: observation
connected connection relationship related together link: relation
everything whole entire complete all: entire all
know topic subject: search_node node search
container docker image registry: container
docker registry_login docker_login: registry registry_credential
feature_flag flag toggle: flag
setting option mode always configuration config preference: setting config
endpoint endpoints methods: operation endpoint
openapi swagger spec: schema
request match conform: schema_validation validation
workflow: workflow
kick_off run start: instance
step happened run: instance step
list_of_ip ip_list list: list
time clock hour now today: time
convert noon timezone late: convert_time timezone
sum plus calculate add: sum
repeat echo: echo
environment variable env: env environment
compress zip shrink: gzip compress
long slow_task background: long
research investigate study deep: research
commit checkin: commit
uncommitted unstaged modified dirty: unstaged status diff
change changed changes did_change: diff change
staged next_commit: staged stage
stage add_file: add staging
unstage: reset unstage
branch: branch
switch: checkout switch
tool_list refresh_tools refresh reload resync: sync refresh
tag label: tag label
security_contact contact vulnerability_report: security_txt contact
project projects: project
domain hostname address_of: subdomain hostname custom_domain
key_rotation encryption_key api_key keys: key
subscribe feed feeds: feed subscription
mute quiet snooze silence do_not_disturb: silence
pager on_call oncall: pagerduty
license licence seat seats: seat
risk risky_user risk_score behaviour: risk_scoring risk
shared share_with sharing: sharing recipient
invitation invited pending: invite membership
ready readiness ai_ready: readiness
pdf document_of invoice_document receipt: receipt pdf
balance credit_left how_much_left: balance quota
quota remaining left_over allowance: quota limit usage
preview try before_saving dry_run: preview test validate
reset factory_settings start_over default: reset default
retry again redo: retry
sink destination target drain: sink destination
stream_data events_in ingest: pipeline stream
export_logs ship_logs send_logs access_logs storage: logpush logpush_job
dump snapshot copy_of: snapshot export
lock locked unlock protect_from_deletion: lock hold
prevent prevent_deletion hold: lock hold
accessible screen_reader: accessibility
compatibility minimum tls_version oldest: tls_version settings tls
quantum future_proof: post_quantum
origin_certificate between: origin_ca origin_tls
dnssec signed sign_zone: dnssec
secondary_dns zone_transfer transfer: zone_transfer axfr peer
nameservers own_nameservers: custom_nameserver nameserver
ipv6 ipv4 ip_version: ip_version
hijack hijacked stolen_prefix: hijack
route_leak leaks: leak
trust trusted safe_list: trusted allowlist allow_policy
spam junk spoof spoofed: email_security spam spoof
quarantine quarantined released release_mail: release quarantine investigate
suspicious_mail phishing_mail: email_security investigate
dashboard query metrics analytics explore: query analytics telemetry
trace tracing debug follow: trace tracer tracing
tracker tags_manager third_party_tools: zaraz google_tag
speed_test lighthouse page_speed: speed_pages speed_test
crawled index indexing: crawl index
ai_search knowledge_base rag ask_documents: aisearch search chat_completion
ai_crawler gpt_bot: ai_bots crawler
prompt_injection unsafe_prompt ai_safety: ai_security prompt
ai_logs prompts_sent: ai_gateway_logs ai_gateway
team_member belongs_to group: user_group group
approval approve review: review
public_access make_public public: managed_domain public domain
temporary short_lived temporarily: temporary
notify_when_changed on_change event_notification: event_notification notification
cron_job background_job job: job
progress how_far percent_done: progress status job
cancel_job abort_job: abort
meeting_link join_link invite_to_meeting participant: add_participant participant
who_attended attended attendees: participants session_participant
webinar livestream broadcast: livestream
audio sound voice dub: audio_track audio
thumbnail embed player: embed stream
smart tiered nearby_cache: tiered_cache tiered
country_block region_restriction data_residency keep_in_europe: regional region
outgoing email_out newsletter transactional: email_sending send
bounce bounced unsubscribed suppression: suppression
alias catch_all unknown_recipients: catch_all
computers_policy split_tunnel device_profile: device_policy
device_check antivirus compliance disk_encryption: posture
exclude bypass skip: exclude
ssh server_access: ssh infrastructure
sql_logs search_logs log_search: log_explorer query telemetry
rate price_list price: rate_plan rate
upgrade version newer: upgrade version
rename title name: rename name
summary overview statistics: summary stats
subnet lan local_network: lan subnet
wan uplink internet_line: wan
"""


class Thesaurus:
    """The groups in stems, so that every form of a word is meant."""

    def __init__(self, stem: Callable[[str], str]) -> None:
        self._said: dict[tuple[str, ...], list[int]] = {}
        self._written: dict[tuple[str, ...], list[int]] = {}
        for number, line in enumerate(GROUPS.strip().splitlines()):
            said, _, written = line.partition(":")
            for spelled in dict.fromkeys(written.split()):
                _add(self._written, spelled, number, stem)
            for spelled in dict.fromkeys((*said.split(), *written.split())):
                _add(self._said, spelled, number, stem)

    def asked(self, stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """Where words of a group are in a query: position, number of words, group."""
        return _matches(self._said, stems)

    def written(self, stems: Sequence[str]) -> list[int]:
        """The groups a tool's words belong to."""
        return list(dict.fromkeys(group for _, _, group in _matches(self._written, stems)))


def _add(into: dict[tuple[str, ...], list[int]], spelled: str, number: int, stem: Callable[[str], str]) -> None:
    key = tuple(stem(word) for word in spelled.split("_"))
    known = into.setdefault(key, [])
    if number not in known:
        known.append(number)


def _matches(groups: Mapping[tuple[str, ...], list[int]], stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    for length in (3, 2, 1):
        for start in range(len(stems) - length + 1):
            for group in groups.get(tuple(stems[start : start + length]), ()):
                yield start, length, group
