type files_Entry = { name: string; type: "file" | "directory"; children?: files_Entry[] };
declare const codemode: {
  files: {
    /** Read the complete contents of a file as text. Use 'head' for the first lines and 'tail' for the last. (read-only) */
    read_text_file(input: {
      path: string;
      /** If provided, returns only the last N lines of the file */ tail?: number;
      /** If provided, returns only the first N lines of the file */ head?: number;
    }): Promise<{ content: string }>;
    /** Make line-based edits to a text file. (destructive) */
    edit_file(input: {
      path: string;
      edits: {
        /** Text to search for - must match exactly */ oldText: string;
        /** Text to replace with */ newText: string;
      }[];
      /** Preview changes using git-style diff format (default false) */ dryRun?: boolean;
    }): Promise<unknown>;
    /**
     * A recursive view of a directory.
     * Rules:
     * - files have no children
     * - directories always have a list, maybe empty
     * ```json
     * {"name": "src", "type": "directory"}
     * ```
     */
    directory_tree(input: { path: string; excludePatterns?: string[] }): Promise<files_Entry>;
    /** Directories this server may use. */
    list_allowed_directories(input?: Record<string, never>): Promise<unknown>;
  };
};
