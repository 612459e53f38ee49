// Says in words what the chosen crontab means, on the admin's form of a schedule.
{
  const inWords = JSON.parse(document.getElementById("readable-crontabs").textContent);
  const select = document.getElementById("id_crontab");
  const meaning = document.createElement("div");
  const say = () => { meaning.textContent = inWords[select.value] ?? ""; };
  meaning.className = "help";
  document.querySelector(".field-crontab_translation")?.remove();
  select.closest(".form-row").append(meaning);
  select.addEventListener("change", say);
  say();
}
