// The generated types of the API. The page has no types of its own for what travels.

export type * from '../../../contract/v1/mmn';

/** A part of a list, and what to ask for the next. */
export type Page<T> = { items: T[]; next?: string | null };
