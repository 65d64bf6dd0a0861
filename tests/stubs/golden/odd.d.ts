type integer = number;
type odd_Tree = { children?: odd_Tree[]; self?: odd_Tree; value: unknown; never?: never };
declare const codemode: {
  /** Legal, but not what one expects. *\/ declare const hacked: 1; /* */
  odd: {
    /** @ts\-ignore */
    then_(input?: Record<string, unknown>): Promise<unknown>;
    /** Print. @ts\-expect-error */
    _3d_print(input: {
      "héllo"?: string;
      __proto__?: number;
      /** ends *\/ here */ "a-b": boolean;
      constructor?: string | Function;
      ""?: null;
      "line\nbreak"?: "a\u2028b\"`${x}";
    }): Promise<unknown>;
    tool_cf2a(input?: {
      zone?: "zone-000" | "zone-001" | "zone-002" | "zone-003" | "zone-004" | "zone-005" | "zone-006" | "zone-007" | "zone-008" | "zone-009" | "zone-010" | "zone-011" | "zone-012" | "zone-013" | "zone-014" | "zone-015" | "zone-016" | "zone-017" | "zone-018" | "zone-019" | "zone-020" | "zone-021" | "zone-022" | "zone-023" | /* 275 more */ "zone-299";
      mixed?: "a" | 1 | -2.5 | true | { k: [1, "x"] } | [] | Record<string, never> | null;
    }): Promise<unknown>;
    get_x_e886(input?: {
      a?: integer;
      b?: boolean;
      /** not in this schema: https://elsewhere.example/z.json */ c?: unknown;
      /** date */ d?: string;
      /** not in this schema: #/$defs/nothing */ e?: unknown;
    }): Promise<unknown>;
    get_x(input: odd_Tree): Promise<string>;
    search(input: { deep?: boolean; old?: never } & ({ by: "id"; id: integer } | { by: "name"; name: string })): Promise<unknown>;
    wrong(input?: {
      a?: unknown;
      b?: unknown;
      c?: unknown;
      d?: unknown;
      e?: unknown;
      f?: unknown;
      g?: Record<string, unknown>;
      h?: unknown[];
      i?: unknown;
      j?: string;
    }): Promise<never>;
  };
};
