// An authorization server for tests: the certified `oidc-provider`, which logs people in by its own pages, and has records.
// Reads {issuer, seconds, rotates} as JSON from its first argument: where it is reached, how long access tokens live, and
// whether a refresh token serves once; one that comes twice takes back the whole login then. It prints where it listens.
//
// For the test alone: /whose?token= says whose access or refresh token that is (or nothing), /take-back?who= ends the
// logins of a person, /records says for each person how often tokens were refreshed, and which logins a second use ended.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const { issuer, seconds, rotates } = JSON.parse(process.argv[2]);
const provider = new Provider(issuer, {
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  scopes: ["files:read", "offline_access"],
  pkce: { required: () => true },
  rotateRefreshToken: rotates,
  issueRefreshToken: async () => true,
  ttl: { RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 3600 },
  features: {
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: "files:read",
        audience: resource,
        accessTokenFormat: "opaque",
        accessTokenTTL: seconds,
      }),
    },
  },
  cookies: { keys: ["a key for tests"] },
});

const records = { refreshed: {}, usedTwice: [] };
const grants = {};
provider.on("grant.success", (ctx) => {
  const { AccessToken: token } = ctx.oidc.entities;
  if (ctx.oidc.params.grant_type === "refresh_token") {
    records.refreshed[token.accountId] = (records.refreshed[token.accountId] ?? 0) + 1;
  } else {
    (grants[token.accountId] ??= []).push(token.grantId);
  }
});
provider.on("grant.revoked", (ctx, grantId) => {
  if (ctx.oidc.route === "token") {
    records.usedTwice.push(Object.keys(grants).find((who) => grants[who].includes(grantId)));
  }
});

async function whose(token) {
  const found = (await provider.AccessToken.find(token)) ?? (await provider.RefreshToken.find(token));
  return found?.accountId ?? "";
}

async function takeBack(who) {
  for (const grantId of grants[who] ?? []) {
    await provider.AccessToken.revokeByGrantId(grantId);
    await provider.RefreshToken.revokeByGrantId(grantId);
    await (await provider.Grant.find(grantId))?.destroy();
  }
}

const callback = provider.callback();
const server = createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  const answer = (found) => response.end(JSON.stringify(found ?? null));
  if (url.pathname === "/whose") answer(await whose(url.searchParams.get("token")));
  else if (url.pathname === "/take-back") answer(await takeBack(url.searchParams.get("who")));
  else if (url.pathname === "/records") answer(records);
  else callback(request, response);
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit(0)).resume();
