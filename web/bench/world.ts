// Ten thousand vantage points as an anchor would list them.

import type { VpView } from '../src/lib/contract.ts';

const CITIES = [
  ['amsterdam', 'NL', 'EU', 52.37, 4.9], ['berlin', 'DE', 'EU', 52.52, 13.4], ['lagos', 'NG', 'AF', 6.52, 3.38], ['lima', 'PE', 'SA', -12.05, -77.04],
  ['london', 'GB', 'EU', 51.51, -0.13], ['madrid', 'ES', 'EU', 40.42, -3.7], ['mumbai', 'IN', 'AS', 19.08, 72.88], ['new york', 'US', 'NA', 40.71, -74.01],
  ['paris', 'FR', 'EU', 48.86, 2.35], ['sao paulo', 'BR', 'SA', -23.55, -46.63], ['seoul', 'KR', 'AS', 37.57, 126.98], ['sydney', 'AU', 'OC', -33.87, 151.21],
] as const;

export function vantagePoints(n: number): VpView[] {
  return Array.from({ length: n }, (_, at): VpView => {
    const [city, country, continent, latitude, longitude] = CITIES[at % CITIES.length]!;
    // A golden angle apart: spread over the land around, the same in each run.
    const turn = at * 2.399963;
    const [north, east] = [Math.sin(turn) * ((at % 97) / 9), Math.cos(turn) * ((at % 89) / 9)];
    return {
      vantage_point: {
        id: `vp${String(at).padStart(14, '0')}`,
        name: `${city.slice(0, 3)}${at}`,
        location: { country, continent, city, latitude: latitude + north, longitude: longitude + east },
        asn: 64512 + (at % 1000),
        addresses: [`10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`],
        tags: at % 3 === 0 ? ['fibre'] : ['eyeball'],
        simulated: true,
      },
      health: at % 200 === 0 ? 'lost' : at % 50 === 0 ? 'degraded' : 'healthy',
      kinds: ['dns', 'http', 'multipath', 'ping', 'tcp', 'trace', 'udp'],
      unavailable: [],
      modules: [],
      last_seen_at: new Date().toISOString(),
    } as unknown as VpView;
  });
}
