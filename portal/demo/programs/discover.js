// Which tools know about late parcels, and about tickets? Search for
// both at once, then read the types before writing the real program.
const [parcels, tickets] = await codemode.search(
  ["list late shipments", "find support tickets"],
  { limit: 3 },
);
for (const tool of [...parcels, ...tickets]) console.log(tool.path);

return await codemode.describe([parcels[0].path, tickets[0].path]);
