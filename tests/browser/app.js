// A small app on the fhirclient library: /launch/{app} starts it, /callback is where it comes back to.
const APPS = {
  patient: {
    clientId: "patient-portal",
    scope: "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Appointment.rs patient/Observation.rs",
  },
  provider: {
    clientId: "provider-portal",
    clientSecret: "demo-provider-portal",
    scope: "launch/patient openid fhirUser patient/Patient.rs patient/Appointment.rs",
  },
  ehr: {
    clientId: "provider-portal",
    clientSecret: "demo-provider-portal",
    scope: "launch openid fhirUser online_access patient/Patient.rs patient/Appointment.rs",
  },
};

function show(state, seen) {
  document.getElementById("seen").textContent = JSON.stringify(seen);
  document.getElementById("state").textContent = state;
}

async function look(client) {
  const patient = await client.patient.read();
  const appointments = await client.request(`Appointment?patient=${client.patient.id}&_count=2`, { flat: true, pageLimit: 0 });
  const of = async (url) => client.request(url).then(() => 200, (error) => error.status);
  return {
    patient: patient.id,
    family: patient.name[0].family,
    fhirUser: client.user.fhirUser,
    appointments: appointments.map((one) => one.id),
    observations: await of(`Observation?patient=${client.patient.id}`),
    response: client.state.tokenResponse,
  };
}

async function come() {
  const client = await FHIR.oauth2.ready();
  const button = document.getElementById("refresh");
  button.disabled = false;
  button.onclick = async () => {
    show("loading", null);
    await client.refresh().then(() => look(client)).then((seen) => show("refreshed", seen)).catch(fail);
  };
  show("ready", await look(client));
}

const fail = (error) => show("failed", String(error.message || error));
const started = location.pathname.match(/^\/launch\/(\w+)$/);
if (started) {
  const iss = new URLSearchParams(location.search).get("iss"); // the library reads `launch` itself
  const redirectUri = "http://localhost:4567/callback";
  const settings = { ...APPS[started[1]], iss, redirectUri, pkceMode: "required" };
  FHIR.oauth2.authorize(settings).catch(fail);
} else {
  come().catch(fail);
}
