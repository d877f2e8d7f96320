// The world's land as one SVG path, projected when the site is built: the page carries no atlas and no decoder.

import { readFileSync } from 'node:fs';
import { geoEqualEarth, geoPath } from 'd3-geo';
import type { GeoJSON } from 'geojson';
import { feature } from 'topojson-client';
import type { Topology } from 'topojson-specification';
import type { Plugin } from 'vite';
import { MAP, projectionOf } from '../src/lib/map-frame.ts';

const NAME = 'virtual:land';

/** Without Antarctica, of which the frame of the map would show scraps. */
function north(shape: GeoJSON): GeoJSON {
  if (shape.type === 'FeatureCollection') return { ...shape, features: shape.features.map((one) => north(one) as typeof one) };
  if (shape.type !== 'Feature' || shape.geometry.type !== 'MultiPolygon') return shape;
  const coordinates = shape.geometry.coordinates.filter(([ring]) => ring!.some(([, latitude]) => latitude! > -60));
  return { ...shape, geometry: { ...shape.geometry, coordinates } };
}

export function land(): Plugin {
  return {
    name: 'land',
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    load(id) {
      if (id !== `\0${NAME}`) return undefined;
      const file = new URL('../node_modules/world-atlas/land-110m.json', import.meta.url);
      const atlas = JSON.parse(readFileSync(file, 'utf8')) as Topology;
      const shape = north(feature(atlas, atlas.objects['land']!));
      const path = geoPath(projectionOf(geoEqualEarth())).digits(1)(shape);
      return `export default ${JSON.stringify(path)}; // ${MAP.width} by ${MAP.height}`;
    },
  };
}
