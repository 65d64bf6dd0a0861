// Text fields in place of the editor: everything works, without completion.

import { make } from "./dom.js";

export async function open(parent, { onChange, onPosition }) {
  const fields = {};
  for (const [view, label] of Object.entries({ program: "Program", mocks: "Mocks, as JSON", types: "Types" })) {
    const field = make("textarea", { "aria-label": label, spellcheck: "false", wrap: "off", autocapitalize: "off" });
    field.readOnly = view === "types";
    field.hidden = view !== "program";
    if (view !== "types") field.addEventListener("input", () => onChange(view));
    field.addEventListener("selectionchange", () => onPosition(...place(field)));
    parent.append(field);
    fields[view] = field;
  }
  let shown = "program";
  return {
    show(view) {
      if (view === shown) return;
      fields[shown].hidden = true;
      fields[(shown = view)].hidden = false;
    },
    focus: () => fields[shown].focus(),
    text: (view) => fields[view].value,
    setText(view, text) {
      fields[view].value = text;
    },
    setTypes: (text) => (fields.types.value = text),
    setTools() {},
    insertCall(path) {
      const field = fields.program;
      field.focus();
      field.setRangeText(`await codemode.${path}({})`, field.selectionStart, field.selectionEnd, "end");
      onChange("program");
    },
    markFailure() {},
    clearFailure() {},
    reveal(line, column) {
      const lines = fields.program.value.split("\n");
      const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
      fields.program.focus();
      fields.program.setSelectionRange(start + column - 1, start + (lines[line - 1]?.length ?? 0));
    },
  };
}

function place(field) {
  const before = field.value.slice(0, field.selectionStart).split("\n");
  return [before.length, before.at(-1).length + 1];
}
