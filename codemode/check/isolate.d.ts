// The globals of an isolate in addition to the language's own, for compilers and editors. No DOM, no Node.
interface Console {
  log(...values: any[]): void; info(...values: any[]): void; warn(...values: any[]): void; error(...values: any[]): void;
  debug(...values: any[]): void; trace(...values: any[]): void; dir(value?: any, options?: any): void;
  dirxml(...values: any[]): void; table(rows?: any, columns?: string[]): void;
  assert(condition?: any, ...values: any[]): void; count(label?: string): void; countReset(label?: string): void;
  group(...values: any[]): void; groupCollapsed(...values: any[]): void; groupEnd(): void;
  time(label?: string): void; timeLog(label?: string, ...values: any[]): void; timeEnd(label?: string): void; clear(): void;
}
declare var console: Console;
declare var tools: any;
declare function setTimeout<A extends any[]>(run: (...values: A) => any, milliseconds?: number, ...values: A): number;
declare function setInterval<A extends any[]>(run: (...values: A) => any, milliseconds?: number, ...values: A): number;
declare function clearTimeout(timer?: number): void;
declare function clearInterval(timer?: number): void;
declare function queueMicrotask(run: () => any): void;
declare function structuredClone<T>(value: T, options?: any): T;
declare function atob(text: string): string;
declare function btoa(text: string): string;
interface Crypto { randomUUID(): string; getRandomValues<T extends ArrayBufferView>(bytes: T): T; }
declare var Crypto: { prototype: Crypto };
declare var crypto: Crypto;
declare var performance: { now(): number; readonly timeOrigin: number };
interface URLSearchParams {
  readonly size: number; append(name: string, value: any): void; delete(name: string, value?: any): void;
  get(name: string): string | null; getAll(name: string): string[]; has(name: string, value?: any): boolean;
  set(name: string, value: any): void; sort(): void; toString(): string;
  entries(): MapIterator<[string, string]>; keys(): MapIterator<string>; values(): MapIterator<string>;
  forEach(run: (value: string, name: string, all: URLSearchParams) => any, self?: any): void;
  [Symbol.iterator](): MapIterator<[string, string]>;
}
declare var URLSearchParams: { prototype: URLSearchParams; new (from?: any): URLSearchParams };
interface URL {
  href: string; readonly origin: string; protocol: string; username: string; password: string; host: string;
  hostname: string; port: string; pathname: string; search: string; readonly searchParams: URLSearchParams; hash: string;
  toString(): string; toJSON(): string;
}
declare var URL: {
  prototype: URL; new (url: string | URL, base?: string | URL): URL;
  parse(url: string | URL, base?: string | URL): URL | null; canParse(url: string | URL, base?: string | URL): boolean;
};
interface TextEncoder {
  readonly encoding: string; encode(text?: string): Uint8Array<ArrayBuffer>;
  encodeInto(text: string, bytes: Uint8Array): { read: number; written: number };
}
declare var TextEncoder: { prototype: TextEncoder; new (): TextEncoder };
interface TextDecoder {
  readonly encoding: string; readonly fatal: boolean; readonly ignoreBOM: boolean;
  decode(bytes?: ArrayBufferLike | ArrayBufferView, options?: { stream?: boolean }): string;
}
declare var TextDecoder: {
  prototype: TextDecoder; new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder;
};
interface Event { readonly type: string; readonly target: any; readonly defaultPrevented: boolean; [member: string]: any; }
declare var Event: { prototype: Event; new (type: string, options?: any): Event };
interface CustomEvent<T = any> extends Event { readonly detail: T; }
declare var CustomEvent: { prototype: CustomEvent; new <T>(type: string, options?: { detail?: T }): CustomEvent<T> };
interface EventTarget {
  addEventListener(type: string, run: any, options?: any): void;
  removeEventListener(type: string, run: any, options?: any): void;
  dispatchEvent(event: Event): boolean;
}
declare var EventTarget: { prototype: EventTarget; new (): EventTarget };
interface AbortSignal extends EventTarget {
  readonly aborted: boolean; readonly reason: any; onabort: any; throwIfAborted(): void;
}
declare var AbortSignal: {
  prototype: AbortSignal; abort(reason?: any): AbortSignal; timeout(milliseconds: number): AbortSignal;
  any(signals: Iterable<AbortSignal>): AbortSignal;
};
interface AbortController { readonly signal: AbortSignal; abort(reason?: any): void; }
declare var AbortController: { prototype: AbortController; new (): AbortController };
interface DOMException extends Error { readonly code: number; readonly [constant: `${string}_ERR`]: number; }
declare var DOMException: {
  prototype: DOMException; new (message?: string, name?: string): DOMException; readonly [constant: `${string}_ERR`]: number;
};
interface ToolError extends Error { code?: number; data?: any; tool?: string; }
declare var ToolError: { prototype: ToolError; new (message?: string, properties?: any): ToolError };
interface ErrorConstructor { captureStackTrace(error: object, above?: any): void; stackTraceLimit: number; }
