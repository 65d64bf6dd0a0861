// Copies the text beside a button. The button is hidden where this script does not run: the text can be selected there.
for (const button of document.querySelectorAll("button[data-copies]")) {
  const source = document.getElementById(button.dataset.copies);
  const words = button.textContent;
  let timer;
  button.hidden = false;
  button.addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // Without TLS there is no clipboard: the text is selected, and the older command copies what is selected.
      getSelection().selectAllChildren(source);
      done = document.execCommand("copy");
    }
    document.getElementById("copied").textContent = done ? "Copied" : "Selected. Copy it with your keyboard.";
    button.textContent = done ? "Copied" : "Selected";
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.textContent = words;
      document.getElementById("copied").textContent = "";
    }, 2000);
  });
}
