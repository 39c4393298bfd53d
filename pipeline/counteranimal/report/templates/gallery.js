"use strict";
(() => {
  const form = document.querySelector(".filters");
  const photos = [...document.querySelectorAll(".photo")];
  const told = form.querySelector("output");
  const filter = () => {
    const wanted = [...form.querySelectorAll("select")].filter((box) => box.value);
    let shown = 0;
    for (const photo of photos) {
      photo.hidden = !wanted.every((box) => photo.dataset[box.name] === box.value);
      shown += !photo.hidden;
    }
    told.textContent = `${shown} of ${photos.length} photos`;
  };
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const here = document.activeElement.closest(".photo");
    if (!step || !here) return;
    const open = photos.filter((photo) => !photo.hidden);
    const next = open[open.indexOf(here) + step];
    if (next) next.querySelector("summary").focus();
    event.preventDefault();
  });
  filter();
})();
