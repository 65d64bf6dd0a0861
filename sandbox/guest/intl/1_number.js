// Intl.NumberFormat and Intl.PluralRules (ECMA-402, sections 15 and 16; CLDR number patterns, UTS 35 part 3).

const { tables, out, entry, fail, refuse, service, bound, resolve, names, supportedLocalesOf, object, option, numberOption, onlyPlain, textOf } = native.base;

// --- exact decimals ---

// {negative, digits, point}: 0.DIGITS * 10^point, without zeros at either end; digits "" is zero. Or {special}.
function decimal(negative, digits, point) {
  let start = 0;
  let end = digits.length;
  while (start < end && digits[start] === "0") start++;
  while (end > start && digits[end - 1] === "0") end--;
  return { negative, digits: digits.slice(start, end), point: start === end ? 0 : point - start };
}

const NUMERIC = /^([+-]?)(?:(\d+)\.?(\d*)|\.(\d+))(?:e([+-]?\d+))?$/i;

// ToIntlMathematicalValue (ECMA-402, 16.5.16): text keeps all its digits.
function toDecimal(value) {
  let primitive = value;
  if (typeof value === "object" && value !== null || typeof value === "function") {
    primitive = toPrimitive(value);
  }
  if (typeof primitive === "bigint") {
    const negative = primitive < 0n;
    const digits = String(negative ? -primitive : primitive);
    return decimal(negative, digits, digits.length);
  }
  let text = primitive;
  if (typeof primitive === "string") {
    text = primitive.trim();
    if (!NUMERIC.test(text)) text = Number(primitive);
    else if (text.length > 100000) throw fail("RangeError", "the number has too many digits");
  }
  if (typeof text !== "string") {
    const number = Number(text);
    if (Number.isNaN(number)) return { special: "nan", negative: false };
    if (!Number.isFinite(number)) return { special: "infinity", negative: number < 0 };
    text = Object.is(number, -0) ? "-0" : String(number);
  }
  const [, sign, whole = "", fraction = "", bare = "", exponent = "0"] = NUMERIC.exec(text);
  if (Math.abs(exponent) > 1e4) return toDecimal(Number(text));
  return decimal(sign === "-", whole + fraction + bare, whole.length + Number(exponent));
}

function toPrimitive(value) {
  const convert = value[Symbol.toPrimitive];
  if (convert !== undefined && convert !== null) {
    const found = convert.call(value, "number");
    if (Object(found) !== found) return found;
  } else {
    for (const name of ["valueOf", "toString"]) {
      const found = typeof value[name] === "function" ? value[name]() : value;
      if (Object(found) !== found) return found;
    }
  }
  throw fail("TypeError", "Cannot convert object to primitive value");
}

const magnitude = (d) => (d.digits === "" ? 0 : d.point - 1);

// Whether the rest of a cut number counts as one more unit. `rest` compares it with a half: -1, 0, 1 (undefined: none).
function roundsUp(mode, negative, odd, rest) {
  if (rest === undefined) return false;
  switch (mode) {
    case "ceil": return !negative;
    case "floor": return negative;
    case "expand": return true;
    case "trunc": return false;
    case "halfCeil": return rest > 0 || (rest === 0 && !negative);
    case "halfFloor": return rest > 0 || (rest === 0 && negative);
    case "halfTrunc": return rest > 0;
    case "halfEven": return rest > 0 || (rest === 0 && odd);
    default: return rest >= 0;
  }
}

// Rounds to a multiple of increment * 10^-places.
function roundAt(d, places, mode, increment = 1) {
  const keep = d.point + places; // how many digits stay
  if (d.digits === "" || (keep >= d.digits.length && increment === 1)) return d;
  const kept = keep > 0 ? d.digits.slice(0, keep).padEnd(keep, "0") : "";
  let unit = BigInt(kept || "0");
  let rest;
  if (increment === 1) {
    const cut = keep >= 0 ? d.digits.slice(keep) : "0".repeat(Math.min(-keep, 400)) + d.digits;
    if (/[1-9]/.test(cut)) rest = cut[0] === "5" && !/[1-9]/.test(cut.slice(1)) ? 0 : cut[0] >= "5" ? 1 : -1;
    if (roundsUp(mode, d.negative, unit % 2n === 1n, rest)) unit += 1n;
  } else {
    // In units of the last digit there is, so that nothing is cut before it is compared with a half.
    const finer = 10n ** BigInt(Math.max(0, d.digits.length - keep));
    const whole = BigInt(d.digits.padEnd(keep, "0"));
    const step = BigInt(increment) * finer;
    let count = whole / step;
    const over = (whole % step) * 2n;
    if (over) rest = over > step ? 1 : over < step ? -1 : 0;
    if (roundsUp(mode, d.negative, count % 2n === 1n, rest)) count += 1n;
    unit = count * BigInt(increment);
  }
  const text = String(unit);
  return decimal(d.negative, text, text.length - places);
}

// The digits of a rounded number: [integer part, fraction], with at least so many places.
function places(d, integers, fractions) {
  const whole = d.point > 0 ? d.digits.slice(0, d.point).padEnd(d.point, "0") : "";
  const fraction = d.point > 0 ? d.digits.slice(d.point) : d.digits && "0".repeat(-d.point) + d.digits;
  return [whole.padStart(integers, "0") || "0", fraction.padEnd(fractions, "0")];
}

const MODES = ["ceil", "floor", "expand", "trunc", "halfCeil", "halfFloor", "halfExpand", "halfTrunc", "halfEven"];
const INCREMENTS = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 2500, 5000];

// SetNumberFormatDigitOptions (ECMA-402, 16.1.2).
function digitOptions(options, leastDefault, mostDefault, notation) {
  const r = {};
  r.minimumIntegerDigits = numberOption(options, "minimumIntegerDigits", 1, 21, 1);
  let { minimumFractionDigits: least, maximumFractionDigits: most } = options;
  let { minimumSignificantDigits: few, maximumSignificantDigits: many } = options;
  r.roundingIncrement = numberOption(options, "roundingIncrement", 1, 5000, 1);
  if (!INCREMENTS.includes(r.roundingIncrement)) throw fail("RangeError", "roundingIncrement value is out of range.");
  r.roundingMode = option(options, "roundingMode", "string", MODES, "halfExpand");
  r.roundingPriority = option(options, "roundingPriority", "string", ["auto", "morePrecision", "lessPrecision"], "auto");
  r.trailingZeroDisplay = option(options, "trailingZeroDisplay", "string", ["auto", "stripIfInteger"], "auto");
  if (r.roundingIncrement !== 1) mostDefault = leastDefault;
  const significant = few !== undefined || many !== undefined;
  const fractional = least !== undefined || most !== undefined;
  const wantsSignificant = r.roundingPriority !== "auto" || significant;
  const wantsFraction = r.roundingPriority !== "auto" || (!significant && (fractional || notation !== "compact"));
  if (wantsSignificant && significant) {
    few = numberOption({ minimumSignificantDigits: few }, "minimumSignificantDigits", 1, 21, 1);
    many = numberOption({ maximumSignificantDigits: many }, "maximumSignificantDigits", few, 21, 21);
    r.minimumSignificantDigits = few;
    r.maximumSignificantDigits = many;
  } else if (wantsSignificant) {
    r.minimumSignificantDigits = 1;
    r.maximumSignificantDigits = 21;
  }
  if (wantsFraction && fractional) {
    least = numberOption({ minimumFractionDigits: least }, "minimumFractionDigits", 0, 100);
    most = numberOption({ maximumFractionDigits: most }, "maximumFractionDigits", 0, 100);
    if (least === undefined) least = Math.min(leastDefault, most);
    else if (most === undefined) most = Math.max(mostDefault, least);
    else if (least > most) throw fail("RangeError", "maximumFractionDigits value is out of range.");
  }
  if (wantsFraction) {
    r.minimumFractionDigits = fractional ? least : leastDefault;
    r.maximumFractionDigits = fractional ? most : mostDefault;
  }
  if (!wantsSignificant && !wantsFraction) {
    Object.assign(r, { minimumFractionDigits: 0, maximumFractionDigits: 0 });
    Object.assign(r, { minimumSignificantDigits: 1, maximumSignificantDigits: 2, type: "morePrecision" });
    r.roundingPriority = "morePrecision";
  } else if (r.roundingPriority !== "auto") {
    r.type = r.roundingPriority;
  } else {
    r.type = wantsSignificant ? "significant" : "fraction";
  }
  if (r.roundingIncrement !== 1) {
    if (r.type !== "fraction") throw fail("TypeError", "roundingIncrement works with fraction digits only");
    if (r.minimumFractionDigits !== r.maximumFractionDigits) {
      throw fail("RangeError", "roundingIncrement needs equal minimumFractionDigits and maximumFractionDigits");
    }
  }
  return r;
}

// Rounds by the options: {number, least}, `least` being how many fraction places are shown.
function rounded(d, r) {
  if (d.special) return { number: d, least: 0 };
  const fraction = () => ({
    number: roundAt(d, r.maximumFractionDigits, r.roundingMode, r.roundingIncrement),
    least: r.minimumFractionDigits,
    finest: -r.maximumFractionDigits,
  });
  const significant = () => {
    const finest = magnitude(d) - r.maximumSignificantDigits + 1;
    const number = roundAt(d, -finest, r.roundingMode);
    return { number, least: Math.max(0, r.minimumSignificantDigits - 1 - magnitude(number)), finest };
  };
  let best;
  if (r.type === "fraction") best = fraction();
  else if (r.type === "significant") best = significant();
  else {
    const [f, s] = [fraction(), significant()];
    const finer = r.type === "morePrecision" ? s.finest <= f.finest : s.finest > f.finest;
    best = finer ? s : f;
  }
  if (r.trailingZeroDisplay === "stripIfInteger" && best.number.digits.length <= best.number.point) best.least = 0;
  return best;
}

// --- plural rules ---

const parsedRules = new Map();

function pluralRules(text) {
  let rules = parsedRules.get(text);
  if (!rules) {
    rules = text === "" ? [] : text.split("; ").map((rule) => {
      const [category, condition] = rule.split(": ");
      return [category, condition.split(" or ").map((all) => all.split(" and ").map((relation) => {
        const [, operand, modulo, not, ranges] = /^(\w)(?: % (\d+))? (!?)= (.*)$/.exec(relation);
        return { operand, modulo: Number(modulo), not: not === "!", ranges: ranges.split(",").map((r) => r.split("..").map(Number)) };
      }))];
    });
    parsedRules.set(text, rules);
  }
  return rules;
}

// The category of a number as it is shown: its digits and, in compact notation, its exponent.
function category(text, number, least, exponent = 0) {
  if (number.special) return "other";
  const [whole, fraction] = places(exponent ? { ...number, point: number.point + exponent } : number, 1, exponent ? 0 : least);
  const bare = fraction.replace(/0+$/, "");
  const operands = {
    n: Number(whole + "." + (fraction || "0")), i: Number(whole), v: fraction.length, w: bare.length,
    f: Number(fraction || 0), t: Number(bare || 0), e: exponent, c: exponent,
  };
  for (const [name, any] of pluralRules(text)) {
    const holds = any.some((all) => all.every(({ operand, modulo, not, ranges }) => {
      const exact = whole.length > 15 && !bare && (operand === "i" || operand === "n"); // no double has all of its digits
      const rest = exact ? Number(BigInt(whole) % BigInt(modulo || 1)) : operands[operand] % modulo;
      const value = modulo ? rest : operands[operand];
      return ranges.some(([low, high = low]) => Number.isInteger(value) && value >= low && value <= high) !== not;
    }));
    if (holds) return name;
  }
  return "other";
}

service("PluralRules", {
  make(locales, given) {
    const options = object(given);
    const { data, name, isDefault } = resolve(locales);
    option(options, "localeMatcher", "string", ["lookup", "best fit"]);
    const type = option(options, "type", "string", ["cardinal", "ordinal"], "cardinal");
    // Its rules are those of a language, and V8 names that, unless it is the default.
    const locale = isDefault || name === "pt-PT" ? name : name.split("-")[0];
    return { locale, type, digits: digitOptions(options, 0, 3, "standard"), rules: data[type === "ordinal" ? "ordinal" : "plural"] };
  },
  methods: {
    select(state, value) {
      const { number, least } = rounded(toDecimal(value), state.digits);
      return category(state.rules, number, least);
    },
    selectRange(state, start, end) {
      if (start === undefined || end === undefined) throw fail("TypeError", "selectRange needs a start and an end");
      throw refuse("Intl.PluralRules.prototype.selectRange", "use select(end)");
    },
    resolvedOptions: ((state) => ({
      locale: state.locale,
      type: state.type,
      ...shownDigits(state.digits),
      pluralCategories: [...pluralRules(state.rules).map(([name]) => name), "other"].sort(
        (a, b) => CATEGORIES.indexOf(a) - CATEGORIES.indexOf(b)),
      ...shownRounding(state.digits),
    })),
  },
  statics: { supportedLocalesOf },
});
const CATEGORIES = ["zero", "one", "two", "few", "many", "other"];

// --- patterns ---

// A CLDR pattern: {prefix, suffix, negative: [prefix, suffix], primary, secondary}: the sizes of groups from the right.
const parsedPatterns = new Map();

function numberPattern(text) {
  let parsed = parsedPatterns.get(text);
  if (!parsed) {
    const [positive, negative] = text.split(";").map((half) => /^((?:[^#0.,']|'[^']*')*)([#0.,]*)(.*)$/s.exec(half).slice(1));
    const groups = positive[1].split(".")[0].split(",").slice(1).map((g) => g.length);
    const clean = (s) => s.replace(/'([^']*)'/g, (_, inner) => inner || "'");
    parsed = {
      prefix: clean(positive[0]),
      suffix: clean(positive[2]),
      negative: negative && [clean(negative[0]), clean(negative[2])],
      primary: groups.at(-1) ?? 0,
      secondary: groups.length > 1 ? groups.at(-2) : groups.at(-1) ?? 0,
      zeros: /0+/.exec(positive[1])?.[0].length ?? 0,
    };
    parsedPatterns.set(text, parsed);
  }
  return parsed;
}

// CLDR's minimumGroupingDigits where it is 2.
const TWO_BEFORE_GROUPS = /^(es(?!-(419|AR|BO|BR|BZ|CL|CO|CR|CU|DO|EC|GT|HN|MX|NI|PA|PE|PR|PY|SV|US|UY|VE))|pl|pt-(?!BR)[A-Z]{2}|it)(-|$)/;

function grouped(whole, pattern, state) {
  const { useGrouping, symbols, name } = state;
  if (!useGrouping || !pattern.primary) return [whole];
  const least = useGrouping === "min2" ? 2 : useGrouping === "auto" && TWO_BEFORE_GROUPS.test(name) ? 2 : 1;
  if (whole.length < pattern.primary + least) return [whole];
  const groups = [whole.slice(-pattern.primary)];
  let rest = whole.slice(0, -pattern.primary);
  for (; rest.length > pattern.secondary; rest = rest.slice(0, -pattern.secondary)) groups.unshift(rest.slice(-pattern.secondary));
  return rest ? [rest, ...groups] : groups;
}

// The parts of an unsigned number. `pattern` gives the groups.
function numberParts(number, least, pattern, state) {
  const { symbols, digits } = state;
  if (number.special) {
    return [number.special === "nan" ? { type: "nan", value: "NaN" } : { type: "infinity", value: "∞" }];
  }
  const [whole, fraction] = places(number, digits.minimumIntegerDigits, least);
  const currency = state.style === "currency";
  const parts = [];
  for (const group of grouped(whole, pattern, state)) {
    if (parts.length) parts.push({ type: "group", value: (currency && symbols.currencyGroup) || symbols.group });
    parts.push({ type: "integer", value: group });
  }
  if (fraction) {
    parts.push({ type: "decimal", value: (currency && symbols.currencyDecimal) || symbols.decimal });
    parts.push({ type: "fraction", value: fraction });
  }
  return parts;
}

// --- NumberFormat ---

const UNITS = ("acre bit byte celsius centimeter day degree fahrenheit fluid-ounce foot gallon gigabit gigabyte gram hectare " +
  "hour inch kilobit kilobyte kilogram kilometer liter megabit megabyte meter microsecond mile mile-scandinavian milliliter " +
  "millimeter millisecond minute month nanosecond ounce percent petabyte pound second stone terabit terabyte week yard year").split(" ");

const wellFormedUnit = (unit) => {
  const parts = unit.split("-per-");
  return parts.length <= 2 && parts.every((part) => UNITS.includes(part));
};

// The narrow symbols of CLDR's root that differ from the usual ones.
const NARROW = {
  AUD: "$", CAD: "$", CNY: "¥", HKD: "$", MXN: "$", NZD: "$", TWD: "$", USD: "$", ARS: "$", BBD: "$", BDT: "৳", BMD: "$", BND: "$",
  BOB: "Bs", BSD: "$", CLP: "$", COP: "$", CRC: "₡", CUP: "$", CZK: "Kč", DKK: "kr", DOP: "$", EGP: "E£", FJD: "$", FKP: "£",
  GEL: "₾", GIP: "£", GTQ: "Q", HNL: "L", HUF: "Ft", ISK: "kr", JMD: "$", KHR: "៛", KZT: "₸", LRD: "$", NAD: "$", NGN: "₦",
  NIO: "C$", NOK: "kr", PLN: "zł", PYG: "₲", RUB: "₽", SBD: "$", SEK: "kr", SGD: "$", SRD: "$", THB: "฿", TRY: "₺", TTD: "$",
  UAH: "₴", UYU: "$", ZMW: "ZK", AOA: "Kz", AMD: "֏", AZN: "₼", BAM: "KM", BYN: "р.", BWP: "P", CUC: "$", GNF: "FG", GYD: "$",
  HRK: "kn", KGS: "⃀", KMF: "CF", KYD: "$", LAK: "₭", LKR: "Rs", LTL: "Lt", LVL: "Ls", MGA: "Ar", MMK: "K", MNT: "₮", MUR: "Rs",
  MYR: "RM", NPR: "Rs", PKR: "Rs", RON: "lei", RWF: "RF", SHP: "£", SSP: "£", STN: "Db", SYP: "£", TOP: "T$", VEF: "Bs", ZAR: "R",
  GHS: "GH₵", IDR: "Rp", XCD: "$", JPY: "¥", KRW: "₩", INR: "₹", ILS: "₪", VND: "₫", PHP: "₱", EUR: "€", GBP: "£", BRL: "R$",
  KPW: "₩", BEF: "BEF", SDG: "SDG",
};

function numberState(locales, given) {
  const options = object(given);
  const { data, name, keywords } = resolve(locales, ["nu"]);
  option(options, "localeMatcher", "string", ["lookup", "best fit"]);
  onlyPlain(options, keywords, "numberingSystem");
  const style = option(options, "style", "string", ["decimal", "percent", "currency", "unit"], "decimal");
  const state = { data, name, symbols: data.symbols, style };
  state.locale = name + (keywords.get("nu") === "latn" ? "-u-nu-latn" : "");
  let currency = option(options, "currency", "string");
  if (currency !== undefined && !/^[a-z]{3}$/i.test(currency)) throw fail("RangeError", "Invalid currency code : " + currency.slice(0, 100));
  if (style === "currency" && currency === undefined) throw fail("TypeError", "Currency code is required with currency style.");
  const display = option(options, "currencyDisplay", "string", ["code", "symbol", "narrowSymbol", "name"], "symbol");
  const sign = option(options, "currencySign", "string", ["standard", "accounting"], "standard");
  const unit = option(options, "unit", "string");
  if (unit !== undefined && !wellFormedUnit(unit)) throw fail("RangeError", "Invalid unit argument for Intl.NumberFormat() '" + unit.slice(0, 100) + "'");
  if (style === "unit" && unit === undefined) throw fail("TypeError", "Required unit option for style unit missing");
  const unitDisplay = option(options, "unitDisplay", "string", ["short", "narrow", "long"], "short");
  if (style === "currency") {
    currency = currency.toUpperCase();
    Object.assign(state, { currency, currencyDisplay: display, currencySign: sign });
  }
  if (style === "unit") Object.assign(state, { unit, unitDisplay });
  const notation = option(options, "notation", "string", ["standard", "scientific", "engineering", "compact"], "standard");
  const places = tables.fractions[currency] ?? 2;
  const [least, most] = style === "currency" && notation === "standard" ? [places, places] : [0, style === "percent" ? 0 : 3];
  state.digits = digitOptions(options, least, Math.max(least, most), notation);
  state.notation = notation;
  const compactDisplay = option(options, "compactDisplay", "string", ["short", "long"], "short");
  if (notation === "compact") state.compactDisplay = compactDisplay;
  const byDefault = notation === "compact" ? "min2" : "auto";
  let useGrouping = options.useGrouping;
  if (useGrouping === undefined || useGrouping === "true" || useGrouping === "false") useGrouping = byDefault;
  else if (useGrouping === true) useGrouping = "always";
  else if (!useGrouping) useGrouping = false;
  else if (!["min2", "auto", "always"].includes((useGrouping = textOf(useGrouping)))) {
    throw fail("RangeError", "Value " + useGrouping.slice(0, 100) + " out of range for Intl.NumberFormat options property useGrouping");
  }
  state.useGrouping = useGrouping;
  state.signDisplay = option(options, "signDisplay", "string", ["auto", "never", "always", "exceptZero", "negative"], "auto");
  if (state.currencySign && state.signDisplay === "never") state.currencySign = "standard";
  requireData(state);
  return state;
}

function requireData(state) {
  const { data, name } = state;
  const english = name.startsWith("en");
  if (english && state.style === "unit") state.units = names(data, name, "units");
  if (english && state.currencyDisplay === "name") state.currencyNames = names(data, name, "currencyNames");
  if (state.notation !== "standard" && !english) {
    throw refuse('notation "' + state.notation + '" in ' + name, 'write "en-US", or leave notation out');
  }
  if (state.style === "unit" && !english) {
    throw refuse("the unit style in " + state.name, 'write "en-US", or the number with String(value) + " " + unit');
  }
  if (state.currencyDisplay === "name" && !english) {
    throw refuse('currencyDisplay "name" in ' + state.name, 'use "symbol" or "code", or write "en-US"');
  }
  if (state.style === "currency" && state.notation === "compact" && state.compactDisplay === "long") {
    throw refuse('compactDisplay "long" with a currency', 'use compactDisplay "short"');
  }
  if (state.style === "unit") {
    const { units } = state;
    const [numerator, denominator] = state.unit.split("-per-");
    if (!units[state.unit] && denominator && !units[denominator][state.unitDisplay]?.[2] && !units[numerator]) {
      throw refuse('the unit "' + state.unit + '"', "format the number and add the unit as text");
    }
  }
  if (state.currencyDisplay === "name" && !state.currencyNames[state.currency]) {
    throw refuse("the name of the currency " + state.currency, 'use currencyDisplay "code"');
  }
  if (name === "en-IN" && state.notation === "compact" && state.compactDisplay === "long") {
    throw refuse('compactDisplay "long" in en-IN', 'use compactDisplay "short"');
  }
  if (state.style === "unit" && state.notation === "compact" && state.compactDisplay === "long") {
    throw refuse('compactDisplay "long" with a unit', 'use compactDisplay "short"');
  }
}

function currencyText(state) {
  const { currency, currencyDisplay, data } = state;
  if (currencyDisplay === "code") return currency;
  if (currencyDisplay === "narrowSymbol" && currency === "SEK" && state.name === "en-AU") return "Kr";
  if (currencyDisplay === "narrowSymbol" && NARROW[currency]) return NARROW[currency];
  return data.currencies[currency] ?? currency;
}

// Scales for compact, scientific and engineering notation: the number that is shown, and what is around it.
function notated(d, state) {
  const { notation, digits, data } = state;
  if (notation === "standard" || d.special) return { ...rounded(d, digits), exponent: 0 };
  const attempt = (size) => {
    let exponent = size;
    let pattern;
    if (notation === "engineering") exponent = Math.floor(size / 3) * 3;
    if (notation === "compact") {
      const forms = state.style === "currency" && state.currencyDisplay !== "name" ? data.compact.currency : data.compact[state.compactDisplay];
      const place = Math.min(size, 14) - 3;
      pattern = place >= 0 ? { forms, place } : undefined;
      const zeros = pattern ? numberPattern(forms.other[place]).zeros : 0;
      const text = pattern && forms.other[place];
      if (!pattern || /^¤?\s?0+$/.test(text.trim())) [exponent, pattern] = [0, undefined];
      else exponent = Math.min(size, 14) - (zeros - 1);
    }
    const scaled = { ...d, point: d.digits === "" ? 0 : d.point - exponent };
    return { ...rounded(scaled, digits), exponent, pattern };
  };
  const first = attempt(magnitude(d));
  const after = first.number.digits === "" ? magnitude(d) : magnitude(first.number) + first.exponent;
  return after === magnitude(d) ? first : attempt(after);
}

function signOf(state, negative, zero) {
  switch (state.signDisplay) {
    case "never": return "";
    case "always": return negative ? "-" : "+";
    case "exceptZero": return zero ? "" : negative ? "-" : "+";
    case "negative": return negative && !zero ? "-" : "";
    default: return negative ? "-" : "";
  }
}

// Literal text with a sign, a currency, a percent sign or a compact name in it, as parts.
function affix(text, state, words) {
  const parts = [];
  const push = (type, value) => {
    if (parts.at(-1)?.type === "literal" && type === "literal") parts.at(-1).value += value;
    else parts.push({ type, value });
  };
  for (const c of text) {
    if (c === "-") push("minusSign", state.symbols.minusSign);
    else if (c === "+") push("plusSign", state.symbols.plusSign);
    else if (c === "%") push("percentSign", state.symbols.percentSign);
    else if (c === "¤") push("currency", words.currency);
    else push("literal", c);
  }
  return parts;
}

// CLDR's currencySpacing: a no-break space between a currency that ends in a letter and a digit.
function spaced(before, number, after) {
  const letter = /[^\p{S}\p{Z}]/u;
  const left = before.at(-1);
  if (left?.type === "currency" && letter.test(left.value.at(-1)) && /\d/.test(number[0].value)) before.push({ type: "literal", value: "\u00a0" });
  const right = after[0];
  if (right?.type === "currency" && letter.test(right.value[0])) after.unshift({ type: "literal", value: "\u00a0" });
}

function formatNumber(state, value) {
  const d = toDecimal(value);
  if (state.style === "percent" && !d.special && d.digits) d.point += 2;
  const { number, least, exponent, pattern: compact } = notated(d, state);
  const zero = !number.special && number.digits === "";
  const sign = number.special === "nan" ? signOf(state, false, true) : signOf(state, d.negative, zero);
  const { patterns } = state.data;
  const named = state.currencyDisplay === "name";
  const key = state.style === "currency" && !named ? (state.currencySign === "accounting" ? "accounting" : "currency") : state.style === "percent" && state.notation !== "compact" ? "percent" : "decimal";
  const pattern = numberPattern(patterns[key]);
  let { prefix, suffix } = pattern;
  const accounting = sign === "-" && pattern.negative && !compact; // a compact pattern has no form for negative numbers
  if (accounting) [prefix, suffix] = pattern.negative;
  // A pattern that says where its minus sign stands says so for the plus sign too.
  const placed = sign && !compact && pattern.negative && /-/.test(pattern.negative.join(""));
  if (placed) [prefix, suffix] = pattern.negative.map((text) => text.replace("-", sign));
  const words = state.style === "currency" && !named ? { currency: currencyText(state) } : {};
  const count = category(state.data.plural, number, least, exponent);
  let compactParts;
  if (compact) compactParts = compactAffixes(compact, count, state, words);
  const digits = numberParts(number, least, pattern, state);
  if (state.notation === "scientific" || state.notation === "engineering") digits.push(...exponentParts(exponent, number, state));
  let before;
  let after;
  if (compactParts) {
    [before, after] = compactParts;
  } else {
    [before, after] = [affix(prefix, state, words), affix(suffix, state, words)];
  }
  if (state.style === "currency") spaced(before, digits, after);
  if (sign && !accounting && !placed) before.unshift(...affix(sign, state, words));
  let parts = [...before, ...digits, ...after];
  if (named) {
    const name = state.currencyNames[state.currency][count === "one" ? 0 : 1];
    parts.push({ type: "literal", value: " " }, { type: "currency", value: name });
  }
  if (state.style === "percent" && key === "decimal") {
    parts.push(...affix(numberPattern(patterns.percent).suffix, state, words).map((p) => (p.type === "percentSign" ? { ...p, type: "unit" } : p)));
  }
  if (state.style === "unit") parts = withUnit(parts, count, state);
  return parts;
}

function exponentParts(exponent, number, state) {
  if (number.special) return [];
  const parts = [{ type: "exponentSeparator", value: state.symbols.exponential }];
  if (exponent < 0) parts.push({ type: "exponentMinusSign", value: state.symbols.minusSign });
  parts.push({ type: "exponentInteger", value: String(Math.abs(exponent)) });
  return parts;
}

// "0 thousand" or "¤0K" as the parts around the number.
function compactAffixes({ forms, place }, count, state, words) {
  const text = (forms[count] ?? forms.other)[place];
  const { prefix, suffix } = numberPattern(text);
  const around = (s) => {
    const name = s.replace(/[¤\s]/g, "");
    if (!name) return affix(s, state, words);
    const at = s.indexOf(name);
    return [...affix(s.slice(0, at), state, words), { type: "compact", value: name.replaceAll("‘", "") }, ...affix(s.slice(at + name.length), state, words)];
  };
  return [around(prefix), around(suffix)];
}

function withUnit(parts, count, state) {
  const { units } = state;
  const { unit, unitDisplay } = state;
  const [numerator, denominator] = unit.split("-per-");
  const place = count === "one" ? 0 : 1;
  const of = (name) => units[name]?.[unitDisplay] ?? units[name]?.short;
  let pattern;
  if (of(unit)) pattern = of(unit)[place];
  else if (of(denominator)[2]) pattern = of(denominator)[2].replace("{0}", of(numerator)[place]);
  else {
    const below = of(denominator)[0].replace("{0}", "").trim();
    pattern = units.per[unitDisplay].replace("{0}", of(numerator)[place]).replace("{1}", below);
  }
  const [before, after] = pattern.split("{0}");
  const wrapped = [];
  const push = (text) => {
    const [, lead, name, tail] = /^(\s*)(.*?)(\s*)$/s.exec(text);
    if (lead) wrapped.push({ type: "literal", value: lead });
    if (name) wrapped.push({ type: "unit", value: name });
    if (tail) wrapped.push({ type: "literal", value: tail });
  };
  push(before);
  wrapped.push(...parts);
  push(after);
  return wrapped;
}

const joined = (parts) => {
  let text = "";
  for (const part of parts) text += part.value;
  return text;
};

const shownDigits = (r) => Object.fromEntries(
  ["minimumIntegerDigits", "minimumFractionDigits", "maximumFractionDigits", "minimumSignificantDigits", "maximumSignificantDigits"]
    .filter((key) => r[key] !== undefined).map((key) => [key, r[key]]));
const shownRounding = (r) => ({
  roundingIncrement: r.roundingIncrement, roundingMode: r.roundingMode, roundingPriority: r.roundingPriority,
  trailingZeroDisplay: r.trailingZeroDisplay,
});

const noRange = () => {
  throw refuse("a range of numbers", 'format both ends: nf.format(start) + "–" + nf.format(end)');
};

service("NumberFormat", {
  callable: true,
  make: numberState,
  getters: { format: bound("format", 1, (state, value) => joined(formatNumber(state, value))) },
  methods: {
    formatToParts: (state, value) => formatNumber(state, value),
    formatRange: (_state, _start, _end) => noRange(),
    formatRangeToParts: (_state, _start, _end) => noRange(),
    resolvedOptions: (state) => {
      const shown = { locale: state.locale, numberingSystem: "latn", style: state.style };
      for (const key of ["currency", "currencyDisplay", "currencySign", "unit", "unitDisplay"]) {
        if (state[key] !== undefined) shown[key] = state[key];
      }
      Object.assign(shown, shownDigits(state.digits), { useGrouping: state.useGrouping, notation: state.notation });
      if (state.compactDisplay) shown.compactDisplay = state.compactDisplay;
      return Object.assign(shown, { signDisplay: state.signDisplay }, shownRounding(state.digits));
    },
  },
  statics: { supportedLocalesOf },
});

// --- Number.prototype.toLocaleString and the like ---

const states = new Map();

// A state for locale and options, kept for the locales that a program uses without options.
function kept(kind, locales, options, make) {
  if (options !== undefined || (locales !== undefined && typeof locales !== "string")) return make(locales, options);
  const key = kind + "\0" + (locales ?? "");
  if (!states.has(key)) {
    if (states.size > 50) states.clear();
    states.set(key, make(locales, options));
  }
  return states.get(key);
}

const numberOf = Number.prototype.valueOf;
const bigintOf = BigInt.prototype.valueOf;
const localized = (value, locales, options) => joined(formatNumber(kept("number", locales, options, numberState), value));
native.methods.number = entry((self, ...rest) => localized(numberOf.call(self), ...rest));
native.methods.bigint = entry((self, ...rest) => localized(bigintOf.call(self), ...rest));
native.number = { numberState, formatNumber, joined, kept, category, rounded, toDecimal, digitOptions, UNITS };
