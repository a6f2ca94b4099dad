import "./look/mantine";
import "./look/look.css";
import "./look/cards.css";
import { MantineProvider } from "@mantine/core";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { asProblem } from "./api/client";
import { router } from "./app/router";
import { theme } from "./look/theme";

// The server's policy allows style elements only with the nonce of this page.
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
setNonce(nonce);

// A newer server has other files: the page that was open fetches them anew.
window.addEventListener("vite:preloadError", () => window.location.reload());

const client = new QueryClient({
  queryCache: new QueryCache({
    onError: (error) => {
      // The session has ended: the sign-in page comes by itself.
      if (asProblem(error).status === 401) client.setQueryData(["me"], null);
    },
  }),
  defaultOptions: {
    queries: {
      // What the server refuses it refuses again; only a server out of reach is asked again.
      retry: (failures, error) => failures < 2 && asProblem(error).status === 0,
      staleTime: 5_000,
    },
  },
});

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={() => nonce}>
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
