// Health in colour, shape and word at once: nobody has to tell colours apart.

import type { Health, VpView } from './contract';

/** From the best to the worst. */
export const HEALTHS: readonly Health[] = ['healthy', 'starting', 'draining', 'degraded', 'suspect', 'lost', 'stopped'];

export type Shape = 'circle' | 'ring' | 'triangle' | 'diamond' | 'cross' | 'square' | 'down';

export const SHAPES: Record<Health, Shape> = {
  healthy: 'circle',
  starting: 'ring',
  degraded: 'triangle',
  suspect: 'diamond',
  lost: 'cross',
  draining: 'down',
  stopped: 'square',
};

/** The outline of a shape within ±`r` around the origin, as the `d` of an SVG path. */
export function outline(shape: Shape, r: number): string {
  const n = (value: number) => Number(value.toFixed(2));
  switch (shape) {
    case 'triangle':
      return `M0 ${n(-r * 1.1)}L${n(r)} ${n(r * 0.8)}H${n(-r)}Z`;
    case 'down':
      return `M0 ${n(r * 1.1)}L${n(r)} ${n(-r * 0.8)}H${n(-r)}Z`;
    case 'diamond':
      return `M0 ${n(-r * 1.2)}L${n(r * 1.1)} 0L0 ${n(r * 1.2)}L${n(-r * 1.1)} 0Z`;
    case 'square':
      return `M${n(-r * 0.8)} ${n(-r * 0.8)}H${n(r * 0.8)}V${n(r * 0.8)}H${n(-r * 0.8)}Z`;
    case 'cross': {
      const [a, b] = [n(r), n(r * 0.4)];
      const half = n(r - r * 0.4);
      return `M${-a} ${-half}L${-half} ${-a}L0 ${-b}L${half} ${-a}L${a} ${-half}L${b} 0L${a} ${half}L${half} ${a}L0 ${b}L${-half} ${a}L${-a} ${half}L${-b} 0Z`;
    }
    default:
      return `M${n(-r)} 0a${n(r)} ${n(r)} 0 1 0 ${n(2 * r)} 0a${n(r)} ${n(r)} 0 1 0 ${n(-2 * r)} 0Z`;
  }
}

export function worst(healths: readonly Health[]): Health {
  return healths.reduce((found, one) => (HEALTHS.indexOf(one) > HEALTHS.indexOf(found) ? one : found), 'healthy');
}

/** Vantage points that stand at the same spot of the map. */
export type Place = { latitude: number; longitude: number; vps: VpView[]; health: Health };

/** Places, apart by half a degree at least: a map of ten thousand has a few hundred marks. The worst come last, on top. */
export function places(vps: readonly VpView[]): Place[] {
  const found = new Map<string, Place>();
  for (const vp of vps) {
    const { latitude, longitude } = vp.vantage_point.location ?? {};
    if (typeof latitude !== 'number' || typeof longitude !== 'number') continue;
    const key = `${Math.round(latitude * 2)} ${Math.round(longitude * 2)}`;
    const place = found.get(key);
    if (place) place.vps.push(vp);
    else found.set(key, { latitude, longitude, vps: [vp], health: vp.health });
  }
  for (const place of found.values()) place.health = worst(place.vps.map((vp) => vp.health));
  return [...found.values()].sort((a, b) => HEALTHS.indexOf(a.health) - HEALTHS.indexOf(b.health));
}
