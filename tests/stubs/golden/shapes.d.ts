type integer = number;
type shapes_Geometry = {
  type: "Point";
  /** 2..3 items */ coordinates: [number, number, ...number[]];
} | {
  type: "LineString";
  /** >= 2 items; each: 2..3 items */ coordinates: [number, number, ...number[]][];
} | shapes_Collection;
type shapes_Collection = { type: "GeometryCollection"; geometries: shapes_Geometry[] };
type shapes_Any = shapes_Any[] | string | number | { [key: string]: shapes_Any } | null;
declare const codemode: {
  shapes: {
    /** Grow a geometry (GeoJSON, RFC 7946). */
    buffer(input: {
      geometry: shapes_Geometry;
      /** Metres (>= 0) */ distance: number;
      box?: [number, number, number, number];
      /** 2..3 items */ origin?: [number, number, ...number[]];
    }): Promise<{ geometry: shapes_Any; steps?: integer }>;
    /** Mix colours. */
    mix(input: {
      from?: [string | integer, string | integer, string | integer] | /** color */ string;
      to?: [string, number?, ...boolean[]];
      steps?: ["linear" | "ease"];
      empty?: [];
    } & ({ from: string; space?: "rgb" } | { space: "rgb" | "hsl" })): Promise<unknown>;
  };
};
