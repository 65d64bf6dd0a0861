// An identity provider for tests: the certified `oidc-provider` with its own pages, and identity assertions (ID-JAG) as a
// grant of its own. Reads {redirect, secret, jwk, seconds} as JSON from its first argument; its ID tokens live so many
// seconds. Prints its issuer when it listens.
import { createServer } from "node:http";
import { SignJWT, createLocalJWKSet, importJWK, jwtVerify } from "jose";
import { Provider, errors } from "oidc-provider";

const { redirect, secret, jwk, seconds } = JSON.parse(process.argv[2]);
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG = "urn:ietf:params:oauth:token-type:id-jag";
const { d: _, ...published } = jwk;

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "portal",
      client_secret: secret,
      redirect_uris: [redirect],
      grant_types: ["authorization_code", "refresh_token", EXCHANGE],
      response_types: ["code"],
      id_token_signed_response_alg: "ES256",
    }],
    jwks: { keys: [jwk] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { IdToken: seconds, AccessToken: seconds },
    cookies: { keys: ["a key for tests"] },
  });
  const parameters = ["subject_token", "subject_token_type", "requested_token_type", "audience", "resource", "scope"];
  provider.registerGrantType(EXCHANGE, async (context) => {
    const asked = context.oidc.params;
    let subject;
    try {
      subject = await jwtVerify(asked.subject_token, createLocalJWKSet({ keys: [published] }), {
        issuer,
        audience: context.oidc.client.clientId,
      });
    } catch {
      throw new errors.InvalidGrant("the ID token does not hold");
    }
    if (asked.requested_token_type !== ID_JAG) throw new errors.InvalidRequest("only identity assertions");
    const claims = { sub: subject.payload.sub, resource: asked.resource, client_id: "portal", scope: asked.scope };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: "ES256", kid: jwk.kid, typ: "oauth-id-jag+jwt" })
      .setIssuer(issuer).setAudience(asked.audience).setIssuedAt().setExpirationTime("5m").setJti(crypto.randomUUID())
      .sign(await importJWK(jwk, "ES256"));
    context.body = { access_token: token, issued_token_type: ID_JAG, token_type: "N_A", expires_in: 300 };
  }, parameters, []);
  server.on("request", provider.callback());
  console.log(issuer);
});
process.stdin.on("end", () => process.exit(0)).resume();
