"use strict";

// Shows the documents that the page links to; its top bar chooses among them.
const links = [...document.querySelectorAll("#documents a")];

SwaggerUIBundle({
  dom_id: "#viewer",
  urls: links.map((link) => ({ name: link.dataset.dialect, url: link.getAttribute("href") })),
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "StandaloneLayout",
  validatorUrl: null,
  deepLinking: true,
});
