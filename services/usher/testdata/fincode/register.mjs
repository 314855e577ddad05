// Registers a customer as the vendor's JavaScript clients do, with the cryptography of Node.
// Usage: node register.mjs GATEWAY OPS EMAIL. Prints the answer's body; fails unless it is 200.
import { Buffer } from 'node:buffer';
import crypto from 'node:crypto';
import process from 'node:process';

const [gateway, ops, email] = process.argv.slice(2);

function encryptPassword(password, publicKeyBase64) {
  const key = `-----BEGIN PUBLIC KEY-----\n${publicKeyBase64}\n-----END PUBLIC KEY-----`;
  const padding = crypto.constants.RSA_PKCS1_OAEP_PADDING;
  return crypto.publicEncrypt({ key, padding, oaepHash: 'sha256' }, Buffer.from(password, 'utf8')).toString('base64');
}

const publicKey = await (await fetch(`${ops}/dev/fincode-public-key`)).text();
const password = encryptPassword('Wörter-und-7-Zahlen', publicKey);

const response = await fetch(`${gateway}/api/v6/services/usermanagement/register-customer`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', platform: 'fincode', uuid: '200' },
  body: JSON.stringify({
    devicePlatform: 'WEB',
    appVersion: '1',
    appId: 'com.fincode.remitjunction',
    customerType: 'INDIVIDUAL',
    payloadEncrypted: true,
    firstName: 'Excel',
    lastName: 'Nwachukwu',
    email,
    address: { street: '12 Marina Road', city: 'Lagos', state: 'Lagos', postalCode: '101241', country: 'Nigeria' },
    dialingCode: '+234',
    phone: '803 555 0147',
    dob: '1989-12-16',
    password,
    confirmPassword: password,
    dynamicFields: {},
  }),
});
console.log(await response.text());
process.exitCode = response.status === 200 ? 0 : 1;
