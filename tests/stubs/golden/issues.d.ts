type integer = number;
/** One issue, without its comments. */
type fix_Issue = {
  id: integer;
  title: string;
  state: "open" | "closed" | "draft";
  author: fix_Person;
  assignees: fix_Person[];
  /** date-time */ created_at: string;
  parent?: fix_Issue | null;
};
type fix_Person = {
  login: string;
  name: string | null;
  /** email */ email?: string;
};
type fix_Comment = {
  author: fix_Person;
  /** Markdown */ body: string;
  replies?: fix_Comment[];
};
declare const codemode: {
  /** Issue tracker: Issues, comments and people of one project. */
  fix: {
    /**
     * Find issues by words and state.
     * Returns the newest first. Words are matched in the title and in the body. (read-only)
     */
    search(input: {
      /** Words to look for (>= 1 chars) */ query: string;
      state?: "open" | "closed" | "draft" | null;
      /** <= 10 items, unique */ labels?: string[];
      /** date-time */ since?: string | null;
      /** 1..100, default 20 */ limit?: integer;
    }): Promise<{ issues: fix_Issue[]; total: integer }>;
    /** Get one issue with its comments. (read-only) */
    get_issue(input: {
      /** Number of the issue */ id: integer;
    }): Promise<{ issue: fix_Issue; comments: fix_Comment[] }>;
    /** Change an issue. (idempotent) */
    update_issue(input: {
      id: integer;
      /** <= 200 chars */ title?: string;
      state?: "open" | "closed" | "draft";
      /** 1 is highest (default 2) */ priority?: 1 | 2 | 3 | null;
    } & ({ title: unknown } | { state: unknown } | { priority: unknown })): Promise<unknown>;
    /** Delete an issue for good. (destructive) */
    delete_(input: { id: integer }): Promise<unknown>;
    /** Who you are. */
    whoami(input?: {}): Promise<unknown>;
  };
};
