// The TypeScript SDK's version 2 client of a program: node - SERVER TOOL ARGUMENTS ERA, prints what it saw as JSON.
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [server, name, args, era] = process.argv.slice(2);
const client = new Client({ name: "typescript-v2", version: "1.0.0" }, { versionNegotiation: { mode: era } });
await client.connect(new StdioClientTransport({ ...JSON.parse(server), stderr: "ignore" }));
const { tools } = await client.listTools();
const result = await client.callTool({ name, arguments: JSON.parse(args) });
const protocol = client.getNegotiatedProtocolVersion();
await client.close();
console.log(JSON.stringify({ protocol, tools: tools.map((tool) => tool.name), result }));
