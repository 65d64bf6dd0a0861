// The TypeScript SDK's version 1 client: node - URL TOOL ARGUMENTS, prints what it saw as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, name, args] = process.argv.slice(2);
const client = new Client({ name: "typescript-v1", version: "1.0.0" });
const transport = new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);
const { tools } = await client.listTools();
const result = await client.callTool({ name, arguments: JSON.parse(args) });
const protocol = transport.protocolVersion;
await client.close();
console.log(JSON.stringify({ protocol, tools: tools.map((tool) => tool.name), result }));
