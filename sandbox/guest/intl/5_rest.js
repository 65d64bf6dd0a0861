// Intl.Locale, the functions of Intl itself, and the services that are not carried.

const {
  tables, names, out, fail, refuse, define, shared, service, guarded, resolve, parseTag, tagText, baseName, canonicalLocales, supportedLocalesOf,
  object, option, realm,
textOf,
} = native.base;
const { UNITS } = native.number;

define(native.intl, "getCanonicalLocales", shared("getCanonicalLocales", 1, (locales) => out(canonicalLocales(locales))));

define(native.intl, "supportedValuesOf", shared("supportedValuesOf", 1, (given) => {
  const key = textOf(given);
  switch (key) {
    case "calendar": return out(["gregory"]);
    case "collation": return out([]);
    case "currency": return out(tables.currencies.split(" "));
    case "numberingSystem": return out(["latn"]);
    case "timeZone": return out(native.zone.zoneNames());
    case "unit": return out([...UNITS]);
    default: throw fail("RangeError", "Invalid key : " + key.slice(0, 100));
  }
}));

// --- Locale ---

const KEYS = { calendar: "ca", collation: "co", hourCycle: "hc", caseFirst: "kf", numeric: "kn", numberingSystem: "nu", firstDayOfWeek: "fw" };

// The state of an Intl.Locale, for the services that are given one in place of a tag.
native.localeOf = service("Locale", {
  length: 1,
  make(tag, given) {
    if (typeof tag !== "string" && Object(tag) !== tag) throw fail("TypeError", "First argument to Intl.Locale constructor can't be empty or missing");
    const options = object(given);
    const parsed = parseTag(native.localeOf(tag)?.text ?? textOf(tag));
    const language = option(options, "language", "string");
    const script = option(options, "script", "string");
    const region = option(options, "region", "string");
    const parts = [language ?? parsed.language, script ?? parsed.script, region ?? parsed.region, ...parsed.variants];
    Object.assign(parsed, parseTag(parts.filter(Boolean).join("-")), { keywords: parsed.keywords, others: parsed.others, privateUse: parsed.privateUse });
    for (const [name, key] of Object.entries(KEYS)) {
      const value = options[name];
      if (value === undefined) continue;
      const text = name === "numeric" ? (value ? "" : "false") : textOf(value).toLowerCase();
      if (text && !/^[a-z\d]{3,8}(-[a-z\d]{3,8})*$/.test(text)) throw fail("RangeError", "Incorrect locale information provided");
      parsed.keywords.set(key, text === "true" ? "" : text);
    }
    return { ...parsed, text: tagText(parsed) };
  },
  methods: {
    toString: (state) => state.text,
    maximize: () => { throw refuse("Intl.Locale.prototype.maximize", "write the script and the region yourself"); },
    minimize: () => { throw refuse("Intl.Locale.prototype.minimize", "use language and region"); },
  },
  getters: {
    baseName: (state) => baseName(state),
    language: (state) => state.language,
    script: (state) => state.script,
    region: (state) => state.region,
    numeric: (state) => state.keywords.has("kn") && state.keywords.get("kn") !== "false",
    ...Object.fromEntries(Object.entries(KEYS).filter(([name]) => name !== "numeric").map(([name, key]) => [name, (state) => state.keywords.get(key)])),
  },
});

// --- what is not carried ---

const absent = (name, advice) => service(name, {
  length: 2,
  make() { throw refuse("Intl." + name, advice); },
  statics: { supportedLocalesOf: () => [] },
});
absent("DisplayNames", "write a table of the names that you need");
absent("DurationFormat", 'put the parts together, with Intl.NumberFormat and style "unit" for each');

Object.defineProperty(native.intl, Symbol.toStringTag, { value: "Intl", configurable: true });
