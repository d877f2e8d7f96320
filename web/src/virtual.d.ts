declare module 'virtual:land' {
  /** The land as the `d` of an SVG path, in the frame of the map. */
  const path: string;
  export default path;
}
