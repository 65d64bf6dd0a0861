// The requests of the page to the bench. The key is in the URL's fragment, which browsers do not send, and stays in this tab.

const KEY = "codemode-bench-key";

export class Refused extends Error {
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export function takeKey() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}`, ...options.headers };
  const response = await fetch(`/api/${path}`, { ...options, headers });
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  const error = said?.error ?? { message: `The bench answered ${response.status}.` };
  throw new Refused(response.status, error.data?.reason, error.message);
}

export const state = async () => (await ask("state")).json();
export const declarations = async () => (await ask("declarations")).json();
export const search = async (query, signal) => (await ask(`search?q=${encodeURIComponent(query)}`, { signal })).json();

/** Runs a program; gives each event as it comes. Aborting the signal stops the program. */
export async function* run(request, signal) {
  const response = await ask("run", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
  } finally {
    // A caller that has read enough does not wait for the end of the connection.
    reader.cancel().catch(() => {});
  }
}
