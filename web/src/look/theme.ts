import { createTheme, type MantineColorsTuple } from "@mantine/core";

// The colour of the mark, from pale to dark.
const fettle: MantineColorsTuple = [
  "#e3f7fb",
  "#cdeaf1",
  "#9dd4e1",
  "#69bdd1",
  "#41a9c3",
  "#289dba",
  "#1796b5",
  "#0b7285",
  "#09687a",
  "#07515f",
];

export const theme = createTheme({
  primaryColor: "fettle",
  primaryShade: { light: 7, dark: 7 },
  colors: { fettle },
  autoContrast: true,
  luminanceThreshold: 0.35,
  defaultRadius: "md",
  respectReducedMotion: true,
  cursorType: "pointer",
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace',
  headings: { fontWeight: "650" },
});
