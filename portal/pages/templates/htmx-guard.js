// Lets htmx work where the policy of the page requires trusted types, and takes away what it could do beyond swapping:
// no text of an attribute or of an answer becomes a script. The markup itself was escaped by the server that wrote it.
(() => {
  const refuse = () => {
    throw new TypeError("This page runs no scripts from attributes or answers.");
  };
  const rules = {
    createHTML: (markup) => markup,
    // htmx makes every script of an answer anew. Without a text it runs nothing.
    createScript: () => "",
    createScriptURL: refuse,
  };
  const policy = globalThis.trustedTypes?.createPolicy("htmx-guard", rules) ?? rules;
  htmx.registerExtension("guard", {
    init: (api) => {
      api.initSecurity(policy, refuse, refuse);
    },
  });
})();
