// For parts of a page that are read again and again: they rest while nobody sees the page, and a table that grows at its
// top loses its oldest rows at its end.
(() => {
  document.addEventListener("htmx:before:request", (event) => {
    if (document.visibilityState === "hidden" && event.target.matches?.("[hx-trigger^='every ']")) {
      event.preventDefault();
    }
  });
  document.addEventListener("htmx:after:swap", () => {
    for (const rows of document.querySelectorAll("[data-most-rows]")) {
      if (rows.children.length > Number(rows.dataset.mostRows)) {
        cut(rows, document.getElementById(rows.dataset.older));
      }
    }
  });
  const cut = (rows, older) => {
    // The last one is a row with an id: the link to older ones goes on before it.
    while (rows.children.length > Number(rows.dataset.mostRows) || !rows.lastElementChild.id) {
      rows.lastElementChild.remove();
    }
    if (older) {
      const link = new URL(older.href);
      link.searchParams.set("before", rows.lastElementChild.id.replace("row-", ""));
      older.href = link.href;
    }
  };
})();
