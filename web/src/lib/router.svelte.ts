// Which page is shown: the path of the address, so that every page is a link that can be sent.

export const place = $state({ path: location.pathname, search: location.search });

function take(): void {
  place.path = location.pathname;
  place.search = location.search;
}

/** Goes to another page. */
export function go(href: string, replace = false): void {
  if (replace) history.replaceState(null, '', href);
  else history.pushState(null, '', href);
  take();
  if (!replace) {
    window.scrollTo(0, 0);
    // A screen reader goes on where the new page begins.
    document.querySelector<HTMLElement>('main')?.focus();
  }
}

/** Follows links of this page without loading it anew; leaves to the browser what is the browser's. */
export function follow(event: MouseEvent): void {
  const link = (event.target as Element | null)?.closest?.('a');
  if (!link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.target || link.hasAttribute('download')) return;
  if (link.pathname.startsWith('/api/') || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

window.addEventListener('popstate', take);
