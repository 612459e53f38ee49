// A page that watches nothing.
import { shell } from "./shell.js";

shell();
