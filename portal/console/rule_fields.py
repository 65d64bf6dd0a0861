"""The rules of policies and groups as fields of a form: the common selectors in plain fields, all others as JSON.

Pure. What the fields show and what they make are one: `shown_sets` of the rules of `sent_sets` are the same fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from portal.admin import AdminError, ShownProvider, invalid
from portal.console.rule_words import Known, RuleJson
from portal.console.visit import Visit

SETS = (
    ("include", "Include", "Whoever matches any of these is meant."),
    ("require", "Require", "Only those who match all of these as well."),
    ("exclude", "Exclude", "But nobody who matches any of these."),
)
_SHAPE = '[{"auth_method": {"auth_method": "mfa"}}]'
_GITHUB = "github-organization"
_SEPARATORS = re.compile(r"[,;\s]+")
_OF_TYPES: Mapping[str, tuple[str, str]] = {
    "azureAD": ("azureAD", "id"),
    "okta": ("okta", "name"),
    "google": ("gsuite", "email"),
    "google-apps": ("gsuite", "email"),
    "github": (_GITHUB, "name"),
}
"""By type of an identity provider: the selector of its groups, and the member that has the group."""


@dataclass(frozen=True, slots=True)
class LineField:
    """A field with one value a line, each of which makes a rule of this selector. `short` values may share a line."""

    name: str
    label: str
    hint: str
    selector: str
    member: str
    fixed: tuple[tuple[str, str], ...] = ()
    short: bool = False
    value: str = ""

    def rule(self, line: str) -> RuleJson:
        parameters = {**dict(self.fixed), self.member: line}
        if self.selector == _GITHUB and "/" in line:
            parameters["name"], _, parameters["team"] = line.partition("/")
        return {self.selector: parameters}

    def line(self, rule: RuleJson) -> str | None:
        """The line that makes this rule; None if none does."""
        parameters = rule.get(self.selector)
        line = parameters.get(self.member) if isinstance(parameters, Mapping) else None
        if isinstance(parameters, Mapping) and self.selector == _GITHUB and parameters.get("team"):
            line = f"{line}/{parameters['team']}"
        return line if isinstance(line, str) and self.lines(line) == [line] and self.rule(line) == rule else None

    def lines(self, text: str) -> list[str]:
        parts = _SEPARATORS.split(text) if self.short else text.splitlines()
        return [part.strip() for part in parts if part.strip()]


@dataclass(frozen=True, slots=True)
class TickedRule:
    """A box that stands for one rule."""

    name: str
    label: str
    rule: RuleJson
    ticked: bool = False


@dataclass(frozen=True, slots=True)
class TickedRules:
    legend: str
    boxes: Sequence[TickedRule]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The fields of one set of rules. `first` are always in sight, the others when they are wanted or used."""

    name: str
    title: str
    hint: str
    everyone: TickedRule
    first: Sequence[LineField]
    lines: Sequence[LineField]
    groups: TickedRules
    ticked: Sequence[TickedRules]
    json_name: str
    json: str

    @property
    def is_used(self) -> bool:
        return bool(self.json) or self.everyone.ticked or any(one.value for one in self.first) or self.uses_more

    @property
    def uses_more(self) -> bool:
        boxes = [box for one in (self.groups, *self.ticked) for box in one.boxes]
        return any(box.ticked for box in boxes) or any(one.value for one in self.lines)


@dataclass(frozen=True, slots=True)
class SentRules:
    """The rules that a form makes, by set, and for each the field that it comes from and where in that field."""

    rules: Mapping[str, Sequence[RuleJson]]
    origins: Mapping[str, Sequence[tuple[str, str]]]

    def placed(self, error: AdminError) -> AdminError:
        """The error of the API with the fields of the form in place of the members of its body."""
        problems = []
        for problem in error.problems:
            head, *rest = problem.pointer.strip("/").split("/")
            if head in self.origins and rest and rest[0].isdigit() and int(rest[0]) < len(self.origins[head]):
                field, where = self.origins[head][int(rest[0])]
                problem = replace(problem, pointer=f"/{field}", message=f"{where}{problem.message}")
            problems.append(problem)
        return AdminError(error.status, problems)


def blank_sets(known: Known) -> list[RuleSet]:
    """The fields of no rules."""
    return [_fields(name, title, hint, known) for name, title, hint in SETS]


def shown_sets(rules: Mapping[str, Sequence[RuleJson]], known: Known) -> list[RuleSet]:
    """The fields of stored rules. A rule that no plain field makes is in the JSON."""
    return [_filled(one, rules.get(one.name, ())) for one in blank_sets(known)]


def sent_sets(visit: Visit, known: Known) -> SentRules:
    """The rules of a form.

    Raises:
        AdminError: the JSON of a set is none, or no list of rules.
    """
    made: dict[str, list[RuleJson]] = {}
    origins: dict[str, list[tuple[str, str]]] = {}
    for one in blank_sets(known):
        found = list(_of_set(one, visit))
        made[one.name] = [rule for rule, _, _ in found]
        origins[one.name] = [(field, where) for _, field, where in found]
    return SentRules(made, origins)


def _of_set(fields: RuleSet, visit: Visit) -> Iterable[tuple[RuleJson, str, str]]:
    if visit.ticked(fields.everyone.name):
        yield fields.everyone.rule, fields.everyone.name, ""
    for field in (*fields.first, *fields.lines):
        for number, line in enumerate(field.lines(visit.sent(field.name)), 1):
            yield field.rule(line), field.name, f"{'entry' if field.short else 'line'} {number}: "
    for boxes in (fields.groups, *fields.ticked):
        for box in boxes.boxes:
            if visit.ticked(box.name):
                yield box.rule, box.name, ""
    for number, rule in enumerate(_json_rules(visit.sent(fields.json_name), fields.json_name), 1):
        yield rule, fields.json_name, f"rule {number}: "


def _json_rules(text: str, field: str) -> list[RuleJson]:
    if not text:
        return []
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid(f"this is no JSON: {error.msg}, line {error.lineno}", f"/{field}") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise invalid(f"must be a list of rules, such as {_SHAPE}", f"/{field}")
    return found


def _filled(fields: RuleSet, rules: Sequence[RuleJson]) -> RuleSet:
    left = list(rules)

    def taken(fits: Callable[[RuleJson], bool]) -> list[RuleJson]:
        found = [one for one in left if fits(one)]
        left[:] = [one for one in left if not fits(one)]
        return found

    def lines(field: LineField) -> LineField:
        values = [field.line(rule) or "" for rule in taken(lambda rule: field.line(rule) is not None)]
        return replace(field, value="\n".join(values))

    def boxes(group: TickedRules) -> TickedRules:
        return replace(group, boxes=[ticked(box) for box in group.boxes])

    def ticked(box: TickedRule) -> TickedRule:
        return replace(box, ticked=bool(taken(lambda rule: rule == box.rule)))

    filled = replace(
        fields,
        everyone=ticked(fields.everyone),
        first=[lines(one) for one in fields.first],
        lines=[lines(one) for one in fields.lines],
        groups=boxes(fields.groups),
        ticked=[boxes(one) for one in fields.ticked],
    )
    return replace(filled, json=orjson.dumps(left, option=orjson.OPT_INDENT_2).decode() if left else "")


def _fields(name: str, title: str, hint: str, known: Known) -> RuleSet:
    def lines(field: str, label: str, hint: str, selector: str, member: str, *, short: bool = False) -> LineField:
        return LineField(f"{name}_{field}", label, hint, selector, member, short=short)

    def box(kind: str, id: str, label: str, rule: RuleJson) -> TickedRule:
        return TickedRule(f"{name}_{kind}_{id}", label, rule)

    selector_of = {"EMAIL": "email_list", "IP": "ip_list"}
    lists = [box("list", one.id, one.name, {selector_of[one.type]: {"id": one.id}}) for one in known.lists]
    return RuleSet(
        name=name,
        title=title,
        hint=hint,
        everyone=TickedRule(f"{name}_everyone", "Everyone", {"everyone": {}}),
        first=(
            lines("emails", "Emails", "One address per line.", "email", "email"),
            lines("domains", "Emails ending in", "One domain per line: example.com.", "email_domain", "domain"),
        ),
        lines=(
            lines("ips", "IP ranges", "One address or network per line: 203.0.113.0/24.", "ip", "ip", short=True),
            lines("countries", "Countries", "Codes of two letters: DE, FR.", "geo", "country_code", short=True),
            *(_groups_at(name, one) for one in known.providers if one.type != "onetimepin"),
        ),
        groups=TickedRules(
            "Access groups", [box("group", one.id, one.name, {"group": {"id": one.id}}) for one in known.groups]
        ),
        ticked=(
            TickedRules("Lists", lists),
            TickedRules(
                "Login methods",
                [
                    box("login", one.id, one.name or one.type, {"login_method": {"id": one.id}})
                    for one in known.providers
                ],
            ),
            TickedRules(
                "Service tokens",
                [
                    box("any", "token", "Any Access service token", {"any_valid_service_token": {}}),
                    *(box("token", one.id, one.name, {"service_token": {"token_id": one.id}}) for one in known.tokens),
                ],
            ),
        ),
        json_name=f"{name}_json",
        json="",
    )


def _groups_at(set_name: str, provider: ShownProvider) -> LineField:
    """The field of the groups that an identity provider knows."""
    claim = provider.config.get("groups_claim") or "groups"
    selector, member = _OF_TYPES.get(provider.type, ("oidc", "claim_value"))
    of_claim = (("claim_name", str(claim)),) if selector == "oidc" else ()
    hints = {
        "id": "One object id of a group per line.",
        "email": "One address of a group per line.",
        "claim_value": "One group per line.",
        "name": "One group per line.",
    }
    hint = "One organization, or organization/team, per line." if selector == _GITHUB else hints[member]
    return LineField(
        f"{set_name}_idp_{provider.id}",
        f"Groups at {provider.name or provider.type}",
        hint,
        selector,
        member,
        (("identity_provider_id", provider.id), *of_claim),
    )
