// The TypeScript SDK's version 2 client: node - URL TOOL ARGUMENTS ERA, prints what it saw as JSON.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, name, args, era] = process.argv.slice(2);
const client = new Client({ name: "typescript-v2", version: "1.0.0" }, { versionNegotiation: { mode: era } });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const { tools } = await client.listTools();
const result = await client.callTool({ name, arguments: JSON.parse(args) });
const protocol = client.getNegotiatedProtocolVersion();
await client.close();
console.log(JSON.stringify({ protocol, tools: tools.map((tool) => tool.name), result }));
