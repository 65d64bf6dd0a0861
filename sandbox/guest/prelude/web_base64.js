// atob and btoa (HTML Standard, section 8.3): the engine's own, with the DOMException programs know.

const { defineFunction, requireArguments, domString } = native.web;
const { DOMException, atob: decode, btoa: encode } = globalThis;

// The text is a string here, so the engine throws its InvalidCharacterError or is out of memory.
function translated(convert, text, message) {
  try {
    return convert(text);
  } catch (error) {
    if (native.className(error) !== "DOMException") throw error;
    throw new DOMException(message, "InvalidCharacterError");
  }
}

defineFunction("atob", function atob(data) {
  requireArguments(arguments.length, 1, "atob");
  return translated(decode, domString(data), "atob: the string is not correctly encoded base64");
});

defineFunction("btoa", function btoa(data) {
  requireArguments(arguments.length, 1, "btoa");
  return translated(encode, domString(data), "btoa: the string holds a character above U+00FF; use TextEncoder first");
});
