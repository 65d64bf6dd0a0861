// The editor: Monaco with the servers' types, completion, and the type checker's findings. The checker sees the program as
// it runs, as the body of an async function. The bench serves the files and the workers of Monaco.

const LIGHT = { "editor.background": "#ffffff", "editorLineNumber.foreground": "#687082", "editorLineNumber.dimmedForeground": "#687082", "editorLineNumber.activeForeground": "#4b5563", "editor.lineHighlightBackground": "#f6f7f9", "editor.lineHighlightBorder": "#00000000", "editorGutter.background": "#ffffff", "editorWidget.background": "#ffffff", "editorWidget.border": "#d9dde5", "focusBorder": "#00000000" };
const DARK = { "editor.background": "#14171d", "editorLineNumber.foreground": "#8a93a5", "editorLineNumber.dimmedForeground": "#8a93a5", "editorLineNumber.activeForeground": "#aab2c2", "editor.lineHighlightBackground": "#1a1e26", "editor.lineHighlightBorder": "#00000000", "editorGutter.background": "#14171d", "editorWidget.background": "#1b1f27", "editorWidget.border": "#313846", "focusBorder": "#00000000" };
// The base theme's colour of comments is too faint on the line of the cursor (WCAG 2.2, 1.4.3).
const DARK_RULES = [{ token: "comment", foreground: "7ba666" }];
const WORKERS = { typescript: "ts.worker-g3pjEjl4", javascript: "ts.worker-g3pjEjl4", json: "json.worker-Csf_TLih" };
const TYPES = "file:///codemode.d.ts";
const ISOLATE = "file:///isolate.d.ts";
const CHECKED = "file:///checked.ts";
const BEFORE = "export {};(async () => {\n";
const PAUSE = 350;
// `return` outside of a function, which is allowed in a program.
const ALLOWED = [1108];
// "'x' is of type 'unknown'": not a mistake of the program if a tool declares no output type.
const UNTYPED = [18046, 2571];

export async function open(parent, { path, onChange, onPosition, onProblems, onRun, onTypes }) {
  const monaco = await load(path);
  const { typescript, editor: ui, MarkerSeverity, Uri } = monaco;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  ui.defineTheme("bench-light", { base: "vs", inherit: true, rules: [], colors: LIGHT });
  ui.defineTheme("bench-dark", { base: "vs-dark", inherit: true, rules: DARK_RULES, colors: DARK });
  const theme = () => ui.setTheme(dark.matches ? "bench-dark" : "bench-light");
  dark.addEventListener("change", theme);
  theme();

  typescript.typescriptDefaults.setCompilerOptions({
    target: typescript.ScriptTarget.ESNext,
    module: typescript.ModuleKind.ESNext,
    moduleDetection: 3,
    lib: ["lib.esnext.d.ts"],
    strict: true,
    // Programs are often JavaScript, so implicit any is allowed.
    noImplicitAny: false,
    useUnknownInCatchVariables: false,
    allowNonTsExtensions: true,
    noEmit: true,
  });
  // Monaco's own checks treat the program as a script, so they are off. `check` below replaces them.
  typescript.typescriptDefaults.setDiagnosticsOptions({ noSemanticValidation: true, noSyntaxValidation: true, noSuggestionDiagnostics: true });

  const models = {
    program: ui.createModel("", "typescript", Uri.parse("file:///program.ts")),
    mocks: ui.createModel("", "json", Uri.parse("file:///mocks.json")),
    types: ui.createModel("", "typescript", Uri.parse(TYPES)),
  };
  const checked = ui.createModel("", "typescript", Uri.parse(CHECKED));
  for (const view of ["program", "mocks"]) models[view].updateOptions({ tabSize: 2, insertSpaces: true });

  const editor = ui.create(parent, {
    model: models.program,
    ariaLabel: "Program",
    automaticLayout: true,
    fontFamily: "ui-monospace, 'SF Mono', 'Cascadia Code', Menlo, 'DejaVu Sans Mono', monospace",
    fontSize: 13,
    lineHeight: 20,
    lineNumbersMinChars: 3,
    minimap: { enabled: false },
    padding: { top: 12, bottom: 12 },
    scrollBeyondLastLine: false,
    scrollBeyondLastColumn: 0,
    wordBasedSuggestions: "off",
    suggest: { showWords: false },
    fixedOverflowWidgets: true,
    quickSuggestions: { other: true, strings: true, comments: false },
    renderLineHighlight: "all",
    overviewRulerBorder: false,
    hideCursorInOverviewRuler: true,
    stickyScroll: { enabled: false },
    scrollbar: { horizontalScrollbarSize: 9, verticalScrollbarSize: 9, useShadows: false },
  });
  editor.addCommand(monaco.KeyMod.CtrlCmd | monaco.KeyCode.Enter, onRun);
  editor.onDidChangeCursorPosition(({ position }) => onPosition(position.lineNumber, position.column));
  const failure = editor.createDecorationsCollection();
  const places = {};
  let shown = "program";
  let timer = 0;

  models.program.onDidChangeContent(() => {
    failure.clear();
    ui.setModelMarkers(models.program, "run", []);
    onChange("program");
    soon();
  });
  models.mocks.onDidChangeContent(() => onChange("mocks"));
  // "Go to definition" on a tool goes to its declaration.
  ui.registerEditorOpener({
    openCodeEditor(source, resource, target) {
      if (resource.toString() !== TYPES) return false;
      onTypes();
      const range = target && ("startLineNumber" in target ? target : monaco.Range.fromPositions(target));
      if (range) {
        editor.setSelection(range);
        editor.revealRangeInCenter(range);
      }
      return true;
    },
  });

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(() => check().catch(() => {}), PAUSE);
  }

  /** The checker's findings on the program: its syntax as it stands, its types inside the function it will be. */
  async function check() {
    const text = models.program.getValue();
    const version = models.program.getVersionId();
    const isModule = /^\s*(export|import)\b/m.test(text);
    const before = isModule ? "" : BEFORE;
    checked.setValue(isModule ? text : `${BEFORE}${text}\n});\n`);
    const worker = await (await typescript.getTypeScriptWorker())(models.program.uri, checked.uri);
    const syntax = await worker.getSyntacticDiagnostics(models.program.uri.toString());
    let found = syntax.filter(({ code }) => !ALLOWED.includes(code)).map((one) => ({ ...one, at: one.start }));
    if (!found.length) {
      const semantic = await worker.getSemanticDiagnostics(CHECKED);
      found = semantic.filter(({ code }) => !ALLOWED.includes(code)).map((one) => ({ ...one, at: one.start - before.length }));
    }
    if (models.program.isDisposed() || version !== models.program.getVersionId()) return;
    const markers = found.slice(0, 100).map((one) => {
      const at = Math.min(Math.max(0, one.at ?? 0), text.length);
      const start = models.program.getPositionAt(at);
      const end = models.program.getPositionAt(Math.min(at + Math.max(1, one.length ?? 1), text.length));
      return {
        severity: UNTYPED.includes(one.code) ? MarkerSeverity.Info : MarkerSeverity.Error,
        message: flat(one.messageText) + (UNTYPED.includes(one.code) ? " Its tool declares no output type." : ""),
        code: String(one.code),
        source: "ts",
        startLineNumber: start.lineNumber,
        startColumn: start.column,
        endLineNumber: end.lineNumber,
        endColumn: end.column,
      };
    });
    ui.setModelMarkers(models.program, "types", markers);
    onProblems(markers.filter(({ severity }) => severity === MarkerSeverity.Error).map(({ message, startLineNumber, startColumn }) => ({ message, line: startLineNumber, column: startColumn })));
  }

  return {
    show(view) {
      if (view === shown) return;
      places[shown] = editor.saveViewState();
      editor.setModel(models[(shown = view)]);
      editor.updateOptions({ readOnly: view === "types", occurrencesHighlight: view === "types" ? "off" : "singleFile", ariaLabel: { program: "Program", mocks: "Mocks, as JSON", types: "Types" }[view] });
      if (places[view]) editor.restoreViewState(places[view]);
    },
    focus: () => editor.focus(),
    text: (view) => models[view].getValue(),
    setText: (view, text) => models[view].setValue(text),
    setTypes(text, isolate) {
      typescript.typescriptDefaults.setExtraLibs([
        { content: text, filePath: TYPES },
        { content: isolate, filePath: ISOLATE },
      ]);
      models.types.setValue(text);
      soon();
    },
    /** The mocks know the tools: their paths complete. */
    setTools(paths) {
      const rule = { anyOf: [{ $ref: "#/$defs/rule" }, { type: "array", items: { $ref: "#/$defs/rule" } }] };
      const schema = {
        type: "object",
        required: ["mocks"],
        properties: { mocks: { type: "object", properties: Object.fromEntries(paths.map((path) => [path, rule])) }, now: {}, seed: {} },
        $defs: { rule: RULE },
      };
      monaco.json.jsonDefaults.setDiagnosticsOptions({ validate: true, schemas: [{ uri: "codemode:mocks", fileMatch: ["*"], schema }] });
    },
    insertCall(path) {
      editor.focus();
      editor.getContribution("snippetController2").insert(`await codemode.${path}({ $0 })`);
      editor.trigger("bench", "editor.action.triggerSuggest", {});
    },
    markFailure(line, column, message) {
      const last = models.program.getLineCount();
      const at = Math.min(line, last);
      failure.set([{ range: new monaco.Range(at, 1, at, 1), options: { isWholeLine: true, className: "failing-line", linesDecorationsClassName: "failing-mark" } }]);
      const word = models.program.getWordAtPosition({ lineNumber: at, column });
      const range = { startLineNumber: at, startColumn: column, endLineNumber: at, endColumn: word?.endColumn ?? column + 1 };
      ui.setModelMarkers(models.program, "run", [{ ...range, severity: MarkerSeverity.Error, message, source: "run" }]);
    },
    clearFailure() {
      failure.clear();
      ui.setModelMarkers(models.program, "run", []);
    },
    reveal(line, column) {
      editor.setPosition({ lineNumber: line, column });
      editor.revealLineInCenterIfOutsideViewport(line);
      editor.focus();
    },
  };
}

const ANYTHING = {};
const RULE = {
  type: "object",
  additionalProperties: false,
  properties: {
    when: { type: "object", description: "Arguments this rule answers; members that are not named do not matter." },
    result: { ...ANYTHING, description: "What the tool returns." },
    results: { type: "array", description: "What it returns, one after the other." },
    raw: { type: "object", description: "A whole MCP result." },
    error: { type: ["string", "object"], description: "The call fails with this." },
    denied: { type: "string", description: "The call is not allowed, and why." },
    delay: { type: "number", description: "Milliseconds of the program's own time." },
    times: { type: "integer", description: "How many calls this rule answers." },
  },
};

async function load(path) {
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${path}/loader.js`;
    script.onload = resolve;
    script.onerror = () => reject(new Error("The editor's files did not load."));
    document.head.append(script);
  });
  const amd = window.require;
  amd.config({ paths: { vs: path } });
  await new Promise((resolve, reject) => amd(["vs/editor/editor.main"], resolve, reject));
  // Workers come from our own origin too, so the page can forbid `blob:`.
  self.MonacoEnvironment = {
    getWorker: (_, label) => new Worker(`${path}/assets/${WORKERS[label] ?? "editor.worker-_vAIFJDs"}.js`, { name: label }),
  };
  return window.monaco;
}

/** A diagnostic's text with the reasons below it. */
function flat(message, depth = 0) {
  if (typeof message === "string") return message;
  const rest = (message.next ?? []).map((one) => flat(one, depth + 1));
  return [`${"  ".repeat(depth)}${message.messageText}`, ...rest].join("\n");
}
