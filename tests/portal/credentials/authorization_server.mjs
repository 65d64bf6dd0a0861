// An authorization server for tests: the certified `oidc-provider`, for clients that ask in their own name.
// Reads {secret, jwk, seconds} as JSON from its first argument; prints its issuer when it listens.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const { secret, jwk, seconds } = JSON.parse(process.argv[2]);
const client = (client_id, method, more) => ({
  client_id,
  token_endpoint_auth_method: method,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  ...more,
});

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      client("basic", "client_secret_basic", { client_secret: secret }),
      client("post", "client_secret_post", { client_secret: secret }),
      client("key", "private_key_jwt", { jwks: { keys: [jwk] } }),
    ],
    clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    scopes: ["files:read", "files:write"],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: "files:read files:write",
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: seconds,
        }),
      },
    },
    cookies: { keys: ["a key for tests"] },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
process.stdin.on("end", () => process.exit(0)).resume();
