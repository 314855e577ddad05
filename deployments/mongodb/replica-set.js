// Makes the replica set and the services' user, once; to run it again changes nothing.
const fs = require("fs");
const secret = (name) => fs.readFileSync(`/run/secrets/${name}`, "utf8").trim();
const address = "mongodb:27017";
const server = new Mongo(`mongodb://root:${secret("mongodb-root-password")}@${address}/?authSource=admin&directConnection=true`);
const admin = server.getDB("admin");

if (!admin.hello().setName) {
  admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: address }] } });
}
for (let tries = 0; !admin.hello().isWritablePrimary; tries++) {
  if (tries === 300) throw new Error("no primary within 30 s; see the log of mongodb");
  sleep(100);
}
const documents = server.getDB("usher");
const account = { pwd: secret("mongodb-password"), roles: ["readWrite"] };
if (documents.getUser("usher")) documents.updateUser("usher", account);
else documents.createUser({ user: "usher", ...account });
