//! How much may leave by a link, and come in by it: tc-tbf(8), and tc-police(8) on what comes in.

use netlink_packet_core::{
    DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Nla as _, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};

use super::Socket;
use crate::{Errno, Result};

/// How long a packet may wait before it is dropped.
const PATIENCE_MS: u64 = 50;
/// The least that may go at once: two full packets, and one that is segmented later.
const BURST_MIN: u64 = 66_000;
/// ETH_P_ALL of linux/if_ether.h, in network order, below the priority (tc(8)).
const EVERY_PROTOCOL: u32 = (1 << 16) | 0x0300;

impl Socket {
    /// Lets `rate` bytes a second leave by the link `index`, and delays what is more: `tc qdisc
    /// replace dev LINK root tbf`.
    pub fn shape(&self, index: u32, rate: u64) -> Result<()> {
        let mut message = message(index, TcHandle::ROOT);
        message.attributes.push(TcAttribute::Kind("tbf".into()));
        message.attributes.push(TcAttribute::Options(bucket(rate)));
        self.change(
            RouteNetlinkMessage::NewQueueDiscipline(message),
            NLM_F_CREATE | NLM_F_REPLACE,
            || format!("let {rate} bytes/s leave by link {index}"),
        )
    }

    /// Lets everything leave by the link `index`; it may have been so.
    pub fn unshape(&self, index: u32) -> Result<()> {
        let message = message(index, TcHandle::ROOT);
        absent_is_done(self.change(RouteNetlinkMessage::DelQueueDiscipline(message), 0, || {
            format!("let everything leave by link {index}")
        }))
    }

    /// Lets `rate` bytes a second come in by the link `index`, and drops what is more: `tc filter
    /// add dev LINK ingress matchall action police`. Not every kernel has it: `ENOENT`.
    pub fn police(&self, index: u32, rate: u64) -> Result<()> {
        self.unpolice(index)?;
        let mut ingress = message(index, TcHandle::INGRESS);
        ingress.header.handle = TcHandle { major: 0xffff, minor: 0 };
        ingress.attributes.push(TcAttribute::Kind("ingress".into()));
        let call = || format!("let {rate} bytes/s come in by link {index}");
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.change(RouteNetlinkMessage::NewQueueDiscipline(ingress), flags, call)?;
        let mut filter = message(index, TcHandle { major: 0xffff, minor: 0 });
        filter.header.info = EVERY_PROTOCOL;
        filter.attributes.push(TcAttribute::Kind("matchall".into()));
        filter.attributes.push(TcAttribute::Options(vec![policing(rate)]));
        let added = self.change(RouteNetlinkMessage::NewTrafficFilter(filter), flags, call);
        if added.is_err() {
            self.unpolice(index)?;
        }
        added
    }

    /// Lets everything come in by the link `index`; it may have been so.
    pub fn unpolice(&self, index: u32) -> Result<()> {
        let mut message = message(index, TcHandle::INGRESS);
        message.header.handle = TcHandle { major: 0xffff, minor: 0 };
        absent_is_done(self.change(RouteNetlinkMessage::DelQueueDiscipline(message), 0, || {
            format!("let everything come in by link {index}")
        }))
    }

    /// The bytes a second that [`shape`](Self::shape) lets leave by the link `index`.
    pub fn shaped(&self, index: u32) -> Result<Option<u64>> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = self.dump(request, || format!("list the queues of link {index}"))?;
        let roots = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(message)
                if u32::try_from(message.header.index) == Ok(index)
                    && message.header.parent == TcHandle::ROOT =>
            {
                Some(message)
            }
            _ => None,
        });
        Ok(roots.filter_map(rate_of).next())
    }

    /// Whether there is a bound on what comes in by the link `index`.
    pub fn is_policed(&self, index: u32) -> Result<bool> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = self.dump(request, || format!("list the queues of link {index}"))?;
        Ok(answers.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(message) => {
                u32::try_from(message.header.index) == Ok(index)
                    && message.header.parent == TcHandle::INGRESS
            }
            _ => false,
        }))
    }
}

fn message(index: u32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = i32::try_from(index).unwrap_or(0);
    message.header.parent = parent;
    message
}

fn absent_is_done(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::INVAL) => Ok(()),
        done => done,
    }
}

/// What may go at once: the rate of a tick of the slowest clock, 4 ms.
fn burst(rate: u64) -> u32 {
    u32::try_from((rate / 250).max(BURST_MIN)).unwrap_or(u32::MAX)
}

/// struct tc_ratespec: cell_log, linklayer (Ethernet), overhead, cell_align, mpu, rate.
fn ratespec(rate: u64) -> Vec<u8> {
    let mut bytes = vec![3, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend(u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
    bytes
}

/// Options of tbf (linux/pkt_sched.h): TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST.
fn bucket(rate: u64) -> Vec<TcOption> {
    let burst = burst(rate);
    let limit = u32::try_from(rate.saturating_mul(PATIENCE_MS) / 1000).unwrap_or(u32::MAX);
    // struct tc_tbf_qopt: rate, peak rate, limit, buffer (said by TCA_TBF_BURST), mtu.
    let mut parameters = ratespec(rate);
    parameters.extend([0; 12]);
    parameters.extend(limit.saturating_add(burst).to_ne_bytes());
    parameters.extend([0; 8]);
    let option = |kind, value| TcOption::Other(DefaultNla::new(kind, value));
    vec![
        option(1, parameters),
        option(4, rate.to_ne_bytes().to_vec()),
        option(6, burst.to_ne_bytes().to_vec()),
    ]
}

/// TCA_MATCHALL_ACT: one action of tc-police(8), which drops what is more.
fn policing(rate: u64) -> TcOption {
    const DROP: i32 = 2;
    // struct tc_police: index, action, limit, burst (in 64 ns), mtu, rate, peak rate, and numbers
    // that the kernel gives.
    let ticks = u128::from(burst(rate)) * 1_000_000_000 / u128::from(rate.max(1)) / 64;
    let mut police = 0_u32.to_ne_bytes().to_vec();
    police.extend(DROP.to_ne_bytes());
    police.extend(0_u32.to_ne_bytes());
    police.extend(u32::try_from(ticks).unwrap_or(u32::MAX).to_ne_bytes());
    police.extend(0_u32.to_ne_bytes());
    police.extend(ratespec(rate));
    police.extend([0; 12]);
    police.extend([0; 12]);
    // TCA_POLICE_TBF, TCA_POLICE_RATE (a table that no kernel reads any more, and all want), and
    // TCA_POLICE_RATE64.
    let options = [nla(1, &police), nla(2, &[0; 1024]), nla(8, &rate.to_ne_bytes())].concat();
    // TCA_ACT_KIND and TCA_ACT_OPTIONS of the first of a list.
    let action = [nla(1, b"police\0"), nla(2 | NESTED, &options)].concat();
    TcOption::Other(DefaultNla::new(2 | NESTED, nla(1 | NESTED, &action)))
}

/// NLA_F_NESTED of linux/netlink.h.
const NESTED: u16 = 1 << 15;

/// An attribute, padded.
fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The rate of a tbf.
fn rate_of(message: &TcMessage) -> Option<u64> {
    let is_tbf =
        |attribute: &TcAttribute| matches!(attribute, TcAttribute::Kind(kind) if kind == "tbf");
    message.attributes.iter().find(|attribute| is_tbf(attribute))?;
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.first(),
        _ => None,
    })?;
    // An option of a kind that the library does not know is all of them.
    let mut bytes = vec![0; options.value_len()];
    options.emit_value(&mut bytes);
    let mut rate = None;
    for option in NlasIterator::new(&*bytes).flatten() {
        let value = option.value();
        match option.kind() {
            // Beside the wide one this is the largest number.
            1 => {
                let narrow = value.get(8..12)?.try_into().ok()?;
                rate = rate.or(Some(u64::from(u32::from_ne_bytes(narrow))));
            }
            4 => rate = Some(u64::from_ne_bytes(value.get(..8)?.try_into().ok()?)),
            _ => {}
        }
    }
    rate
}
