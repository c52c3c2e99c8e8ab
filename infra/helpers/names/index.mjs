// Keeps a name for each node: an address record while its task runs, none after it (ADR 0014).
//
// Main path: a change of a task's state comes in; `change` says what is to be done; a running task's
// public address is looked up and written under its name, a stopped one's record is deleted.

/** What a change of a task's state asks for; nothing for what is not the end of a transition. */
export function change(event, domain) {
  const { taskArn, lastStatus, attachments = [] } = event.detail;
  const name = `${taskArn.split('/').at(-1)}.${domain}`;
  if (lastStatus === 'STOPPED') return { remove: name };
  if (lastStatus !== 'RUNNING') return {};
  const details = attachments.find(({ type }) => type === 'eni')?.details ?? [];
  const networkInterface = details.find((detail) => detail.name === 'networkInterfaceId')?.value;
  return networkInterface ? { add: name, networkInterface } : {};
}

/** Handles events with a DNS zone and a network that are given: tests have their own. */
export const handlerOf = ({ zone, network, domain, log }) =>
  async (event) => {
    const { add, remove, networkInterface } = change(event, domain);
    if (remove) {
      log({ removed: remove, found: await zone.remove(remove) });
    } else if (add) {
      const address = await network.publicAddress(networkInterface);
      // Stopped since then: events may come late and in another order.
      if (!address) return log({ gone: add });
      await zone.put(add, address);
      log({ added: add });
    }
  };

/** Seconds that resolvers keep a record. Names are never reused, so none is ever wrong. */
const TTL_S = 60;

/**
 * Seconds that resolvers remember a name as absent: a node asks for its own until it is there. The
 * platform begins with 900.
 */
const ABSENT_S = 30;

/** The zone at Route 53. */
export function zoneOf(client, commands, zoneId, zoneName) {
  const { ChangeResourceRecordSetsCommand, ListResourceRecordSetsCommand } = commands;
  const apply = (Action, ResourceRecordSet) =>
    client.send(
      new ChangeResourceRecordSetsCommand({
        HostedZoneId: zoneId,
        ChangeBatch: { Changes: [{ Action, ResourceRecordSet }] },
      }),
    );
  const recordAt = async (name, type) => {
    const query = { HostedZoneId: zoneId, StartRecordName: name, StartRecordType: type, MaxItems: 1 };
    const { ResourceRecordSets } = await client.send(new ListResourceRecordSetsCommand(query));
    return ResourceRecordSets.find((set) => set.Name === `${name}.` && set.Type === type);
  };
  let forgets = false;
  /** The lesser of SOA's own time and its last number holds (RFC 2308). */
  const forgetSoon = async () => {
    const soa = await recordAt(zoneName, 'SOA');
    const value = soa?.ResourceRecords[0].Value.replace(/\d+$/, ABSENT_S);
    const isSo = soa?.TTL === ABSENT_S && soa.ResourceRecords[0].Value === value;
    if (soa && !isSo) await apply('UPSERT', { ...soa, TTL: ABSENT_S, ResourceRecords: [{ Value: value }] });
    forgets = true;
  };
  return {
    async put(name, address) {
      if (!forgets) await forgetSoon();
      await apply('UPSERT', { Name: name, Type: 'A', TTL: TTL_S, ResourceRecords: [{ Value: address }] });
    },
    /** A deletion must name the record whole, so it is read first. */
    async remove(name) {
      const record = await recordAt(name, 'A');
      if (record) await apply('DELETE', record);
      return record !== undefined;
    },
  };
}

/** The network at EC2. */
export function networkOf(client, { DescribeNetworkInterfacesCommand }) {
  return {
    async publicAddress(id) {
      try {
        const query = new DescribeNetworkInterfacesCommand({ NetworkInterfaceIds: [id] });
        const { NetworkInterfaces } = await client.send(query);
        return NetworkInterfaces[0]?.Association?.PublicIp;
      } catch (error) {
        if (error.name === 'InvalidNetworkInterfaceID.NotFound') return undefined;
        throw error;
      }
    },
  };
}
