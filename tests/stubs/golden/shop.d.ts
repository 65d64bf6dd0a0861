type integer = number;
type shop_Address = {
  street: string;
  city: string;
  /** ISO 3166-1 alpha-2 (/^[A-Z]{2}$/) */ country: string;
};
declare const codemode: {
  /** Orders of a small shop. */
  shop: {
    /**
     * Place an order.
     * @param input payment requires currency
     */
    orders_create(input: {
      /** Who buys */ customer: { name: string; address: shop_Address; billing?: shop_Address };
      /** >= 1 items */ lines: {
        sku: string;
        /** >= 1, default 1 */ quantity?: integer;
        /** > 0, multiple of 0.01 */ price?: number;
      }[];
      /** How to pay */ payment?: /** By card */ {
        kind: "card";
        /** /^[0-9]{12,19}$/ */ number: string;
      } | /** By invoice */ { kind: "invoice"; days?: 14 | 30 };
      /** default "EUR" */ currency?: /** Euro */ "EUR" | /** Swiss franc */ "CHF" | /** US dollar */ "USD";
      /** <= 500 chars, e.g. "Ring twice" */ note?: string | null;
      /** <= 20 properties */ metadata?: Record<string, string>;
      /** uri, deprecated */ webhook?: string;
    }): Promise<{
      /** uuid */ id: string;
      status: "placed" | "paid" | "sent";
      total?: number;
      /** names like /^x-/ */ links?: { self?: string; [key: `x-${string}`]: string };
    }>;
    /** Set exchange rates. */
    rates_set(input: {
      rates: { EUR?: number; CHF?: number; USD?: number };
      labels?: { version?: integer; [key: string]: string | integer | undefined };
      /** Date or epoch seconds */ when?: string | integer | null;
      reason: unknown;
    }): Promise<unknown>;
  };
};
