// Who is signed in.

import { api, ApiError, whenUnauthorized } from './api';
import type { WhoAmI } from './contract';
import { go } from './router.svelte';

export const session = $state<{ who: WhoAmI | undefined; known: boolean; coming: boolean; error: string | undefined }>({
  who: undefined,
  known: false,
  /** Whether a link is signing in: what is asked meanwhile is asked by nobody. */
  coming: false,
  error: undefined,
});

// A session that has ended shows as one: whoever was signed in may sign in again.
whenUnauthorized(() => (session.who = undefined));

/** Takes the code of a link that signs in once, out of sight at once; else asks who the cookie stands for. */
export async function begin(): Promise<void> {
  const code = new URLSearchParams(location.hash.slice(1)).get('code');
  session.coming = code !== null;
  if (location.hash) go(location.pathname + location.search, true);
  try {
    session.who = code ? await api.signIn({ code }) : await api.whoami();
  } catch (error) {
    // A used link in a browser that is signed in already is no reason to ask again.
    session.who = code ? await api.whoami().catch(() => undefined) : undefined;
    const expected = error instanceof ApiError && error.isUnauthorized && !code;
    if (!session.who && !expected) session.error = (error as Error).message;
  }
  session.known = true;
}

export async function signIn(token: string): Promise<void> {
  session.error = undefined;
  try {
    session.who = await api.signIn({ token });
  } catch (error) {
    session.error = (error as Error).message;
  }
}

export async function signOut(): Promise<void> {
  await api.signOut();
  session.who = undefined;
}
