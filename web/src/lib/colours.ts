// The lines of a plot: as many as can be told apart, in the colours of Okabe and Ito and in dashes. The first has the page's own colour.

export const LINES: readonly (string | undefined)[] = [undefined, '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7d6bd6', '#8a959d'];
export const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 3], [8, 3, 2, 3], [], [6, 3], [2, 3], [8, 3, 2, 3]];
