/** No preprocessing: Svelte takes the types out by itself. @type {import('@sveltejs/vite-plugin-svelte').SvelteConfig} */
export default { compilerOptions: { runes: true } };
