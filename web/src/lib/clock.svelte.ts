// The time of day as pages show it: one timer for all that say how long ago something was.

export const clock = $state({ now: Date.now() });

setInterval(() => (clock.now = Date.now()), 1000);
