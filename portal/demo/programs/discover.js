// What is there to find late parcels with? Search, then read the types before writing the real program.
const found = await codemode.search("parcels that are late", { limit: 3 });
for (const tool of found) console.log(tool.signature);

return await codemode.describe(found[0].path);
