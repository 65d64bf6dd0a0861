// An OpenID provider for tests: the certified `oidc-provider`, with its own login and consent pages.
// Reads {redirect, secret} as JSON from its first argument; prints its issuer when it listens.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const { redirect, secret } = JSON.parse(process.argv[2]);
const people = {
  ada: { email: "ada@example.com", email_verified: true, name: "Ada Lovelace", groups: ["engineers", "staff"] },
  eve: { email: "ada@example.com", email_verified: false, name: "Eve", groups: [] },
};

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "portal",
      client_secret: secret,
      redirect_uris: [redirect],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    }],
    claims: { openid: ["sub", "groups"], email: ["email", "email_verified"], profile: ["name"] },
    conformIdTokenClaims: process.argv[3] === "userinfo",
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    pkce: { required: () => true },
    cookies: { keys: ["a key for tests"] },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
process.stdin.on("end", () => process.exit(0)).resume();
