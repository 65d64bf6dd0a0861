// The TypeScript SDK's version 1 client, signing in: node - URL. It prints the URL a browser is to open, reads the code
// from standard input, and prints the names of the tools it was shown.
import { createInterface } from "node:readline";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const url = new URL(process.argv[2]);
const kept = {};
const provider = {
  redirectUrl: "http://127.0.0.1:3334/callback",
  clientMetadata: { client_name: "TypeScript", redirect_uris: ["http://127.0.0.1:3334/callback"] },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  redirectToAuthorization: (to) => console.log(String(to)),
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
};
const first = new StreamableHTTPClientTransport(url, { authProvider: provider });
try {
  await new Client({ name: "typescript", version: "1.0.0" }).connect(first);
} catch (error) {
  if (!(error instanceof UnauthorizedError)) throw error;
}
const lines = createInterface({ input: process.stdin });
const code = (await lines[Symbol.asyncIterator]().next()).value;
lines.close();
await first.finishAuth(code);
const client = new Client({ name: "typescript", version: "1.0.0" });
await client.connect(new StreamableHTTPClientTransport(url, { authProvider: provider }));
console.log(JSON.stringify((await client.listTools()).tools.map((tool) => tool.name)));
await client.close();
process.exit(0);
