// A list that is read again and again, in the order of its names: what is the same as before is not sorted anew. Pure.

/** A text by which names sort as people count: `lon9` stands before `lon10`. */
export function orderOf(name: string): string {
  return name.toLowerCase().replace(/\d+/g, (digits) => digits.replace(/^0+(?=\d)/, '').padStart(12, '0'));
}

export class Listed<T> {
  items: readonly T[] = [];
  private places = new Map<string, { at: number; name: string }>();

  constructor(private readonly idOf: (item: T) => string, private readonly nameOf: (item: T) => string) {}

  get(id: string): T | undefined {
    const place = this.places.get(id);
    return place && this.items[place.at];
  }

  /** All of them are these now. */
  replace(items: readonly T[]): readonly T[] {
    const same = items.length === this.items.length && items.every((item) => this.knows(item));
    if (!same) return this.sort(items);
    const next = new Array<T>(items.length);
    for (const item of items) next[this.places.get(this.idOf(item))!.at] = item;
    return (this.items = next);
  }

  /** Some are as they are here now: known ones stay in their places. */
  patch(items: readonly T[]): readonly T[] {
    if (!items.every((item) => this.knows(item))) {
      const all = new Map(this.items.map((item) => [this.idOf(item), item]));
      for (const item of items) all.set(this.idOf(item), item);
      return this.sort([...all.values()]);
    }
    const next = this.items.slice();
    for (const item of items) next[this.places.get(this.idOf(item))!.at] = item;
    return (this.items = next);
  }

  private knows(item: T): boolean {
    return this.places.get(this.idOf(item))?.name === this.nameOf(item);
  }

  private sort(items: readonly T[]): readonly T[] {
    const keyed = items.map((item) => ({ item, key: orderOf(this.nameOf(item)) }));
    keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    this.items = keyed.map(({ item }) => item);
    this.places = new Map(this.items.map((item, at) => [this.idOf(item), { at, name: this.nameOf(item) }]));
    return this.items;
  }
}
