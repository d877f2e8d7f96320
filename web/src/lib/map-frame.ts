// The frame of the map. The land (drawn when the site is built) and the places on it share one projection.

import type { GeoProjection } from 'd3-geo';

export const MAP = { width: 960, height: 440 } as const;

export function projectionOf(projection: GeoProjection): GeoProjection {
  return projection.scale(172).translate([MAP.width / 2, MAP.height / 2 + 16]);
}
