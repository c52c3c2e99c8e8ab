// Keeps a DNS name for each node: an address record exists while its task runs (ADR 0014).
//
// Main path: an event reports a task's new state, and `change` decides what to do. Before a task
// runs, the zone's negative caching is shortened. When it runs, its public address is written under
// its name. When it stops, the record is deleted.

/** The states of a task that need work. The rule passes only these. */
export const STATES = ['PROVISIONING', 'PENDING', 'RUNNING', 'STOPPED'];

/** What to do after a change of a task's state; nothing while it is stopping. */
export function change(event, domain) {
  const { taskArn, lastStatus, attachments = [] } = event.detail;
  const name = `${taskArn.split('/').at(-1)}.${domain}`;
  if (lastStatus === 'STOPPED') return { remove: name };
  if (lastStatus === 'PROVISIONING' || lastStatus === 'PENDING') return { await: name };
  if (lastStatus !== 'RUNNING') return {};
  const details = attachments.find(({ type }) => type === 'eni')?.details ?? [];
  const networkInterface = details.find((detail) => detail.name === 'networkInterfaceId')?.value;
  return networkInterface ? { add: name, networkInterface } : {};
}

/** Makes the handler of events. Tests pass their own zone and network. */
export const handlerOf = ({ zone, network, domain, log }) =>
  async (event) => {
    const { await: awaited, add, remove, networkInterface } = change(event, domain);
    if (awaited) {
      log({ awaited, changed: await zone.forgetSoon() });
    } else if (remove) {
      log({ removed: remove, found: await zone.remove(remove) });
    } else if (add) {
      const address = await network.publicAddress(networkInterface);
      // The task has stopped since: events may be late or out of order.
      if (!address) return log({ gone: add });
      await zone.put(add, address);
      log({ added: add });
    }
  };

/** How long resolvers cache a record, in seconds. Names are never reused, so none becomes wrong. */
const TTL_S = 60;

/**
 * How long resolvers remember that a name is absent, in seconds. A node queries its own name until
 * it resolves. Route 53's default is 900, longer than a node waits, so this must be lowered first.
 * CloudFormation cannot do it: a zone comes with its SOA, and it does not replace records.
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
  return {
    /**
     * Shortens negative caching, once for each environment. Returns whether it made a change. The
     * smaller of the SOA's TTL and its last number applies (RFC 2308).
     */
    async forgetSoon() {
      if (forgets) return false;
      const soa = await recordAt(zoneName, 'SOA');
      const value = soa?.ResourceRecords[0].Value.replace(/\d+$/, ABSENT_S);
      const isSo = soa?.TTL === ABSENT_S && soa.ResourceRecords[0].Value === value;
      const changes = soa !== undefined && !isSo;
      if (changes) await apply('UPSERT', { ...soa, TTL: ABSENT_S, ResourceRecords: [{ Value: value }] });
      forgets = true;
      return changes;
    },
    /** Also shortens negative caching, in case the earlier event was lost. */
    async put(name, address) {
      await this.forgetSoon();
      await apply('UPSERT', { Name: name, Type: 'A', TTL: TTL_S, ResourceRecords: [{ Value: address }] });
    },
    /** A deletion must name the whole record, so it is read first. */
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
