// What the host calls, tied to the projection.

import { getMany } from "projectionist:plugin/documents@0.1.0";
import { log } from "projectionist:plugin/host@0.1.0";
import * as kit from "./projectionist.js";
import { projection as user } from "./plugin.js";

kit.logTo(log);

export const projection = {
  describe() {
    return kit.describe(user);
  },
  configure(config) {
    try {
      kit.configure(user, config);
    } catch (error) {
      // An error that is no text ends the instance.
      throw String(error?.message ?? error);
    }
  },
  project(batch) {
    return kit.project(user, batch, (ids) => getMany(0, ids));
  },
};
