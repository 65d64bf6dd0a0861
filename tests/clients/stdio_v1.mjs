// The TypeScript SDK's version 1 client of a program: node - SERVER TOOL ARGUMENTS, prints what it saw as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [server, name, args] = process.argv.slice(2);
const client = new Client({ name: "typescript-v1", version: "1.0.0" });
const transport = new StdioClientTransport({ ...JSON.parse(server), stderr: "ignore" });
await client.connect(transport);
const { tools } = await client.listTools();
const result = await client.callTool({ name, arguments: JSON.parse(args) });
await client.close();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), result }));
