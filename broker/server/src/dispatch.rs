use millrace_engine as engine;
use millrace_engine::{Answer as Answered, Caller, Pull, PullHold, Refusal};
use millrace_protocol::{
    Admin, Answer, CallMode, Frame, HeaderError, Language, QuickSend, Refused, Request,
    RequestCode, ResponseCode,
};

use crate::core::Step;
use crate::handlers::{
    admin, clients, filters, inquiry, letters, locks, messages, names, offsets, private, pull,
    registry, replies, routes, send, topics, transactions,
};
use crate::reactor::Output;
use crate::readers::Question;
use crate::refusal::{Dialect, write_refusal};
use crate::shell::Shell;
use crate::waiting::{Awaited, NOBODY, ReplyTo, Waiting};

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Routes only.
    NameServer,
    /// Everything.
    Broker,
}

/// One request being handled: what handlers work with.
pub(crate) struct Exchange<'a, 's> {
    pub(crate) step: &'a mut Step<'s>,
    pub(crate) shell: &'a mut Shell,
    pub(crate) caller: &'a Caller,
    pub(crate) to: ReplyTo,
    pub(crate) mode: CallMode,
    /// What the peer is written in, and its version.
    pub(crate) language: Language,
    pub(crate) version: i32,
    pub(crate) output: &'a mut Output,
    /// How many requests of this connection wait for the engine or a reader.
    pub(crate) in_flight: &'a mut usize,
    /// How many of these are pulls that wait for a message.
    pub(crate) held_pulls: &'a mut usize,
    /// The version that the topics had before.
    topics: u64,
}

/// Where the frames of a connection go.
pub(crate) struct Destination<'a> {
    pub(crate) role: Role,
    pub(crate) caller: &'a Caller,
    pub(crate) output: &'a mut Output,
    pub(crate) in_flight: &'a mut usize,
    pub(crate) held_pulls: &'a mut usize,
}

impl<'a> Destination<'a> {
    fn exchange<'s>(
        self,
        step: &'a mut Step<'s>,
        shell: &'a mut Shell,
        to: ReplyTo,
        mode: CallMode,
        language: Language,
        version: i32,
    ) -> Exchange<'a, 's> {
        let Self { caller, output, in_flight, held_pulls, .. } = self;
        let topics = step.engine.topics_version();
        Exchange {
            step,
            shell,
            caller,
            to,
            mode,
            language,
            version,
            output,
            in_flight,
            held_pulls,
            topics,
        }
    }
}

/// Requests that change the filters and wait for the thread that does so; each may hold a module.
pub(crate) const CHORES_MAX: usize = 16;

/// Handles one frame. After an error the connection has lost its place.
pub(crate) fn dispatch(
    step: &mut Step<'_>,
    shell: &mut Shell,
    destination: Destination<'_>,
    frame: &Frame<'_>,
) -> Result<(), HeaderError> {
    let Destination { role, caller, .. } = destination;
    let connection = caller.connection;
    if role == Role::Broker
        && let Some(quick) = QuickSend::read(frame)
    {
        let QuickSend { opaque, mode, language, version, message } = quick;
        let to = ReplyTo { connection, opaque, kind: frame.header_kind };
        let mut exchange = destination.exchange(step, shell, to, mode, language, version);
        send::send(&mut exchange, &message);
        return Ok(());
    }
    let header = frame.header()?;
    if header.is_response() {
        shell.relays.answered(connection, &header, frame.body);
        return Ok(());
    }
    let to = ReplyTo { connection, opaque: header.opaque, kind: header.kind };
    let mode = if header.is_oneway() { CallMode::Oneway } else { CallMode::Answered };
    let (language, version) = (header.language, header.version);
    let mut exchange = destination.exchange(step, shell, to, mode, language, version);
    // It could be read, but goes from brokers to clients.
    if header.request_code() == RequestCode::NOTIFY_CONSUMER_IDS_CHANGED {
        exchange.not_supported(header.request_code());
        return Ok(());
    }
    match Request::decode(&header, frame.body) {
        Ok(request) => exchange.handle(role, header.request_code(), request),
        Err(error) => exchange.answer(&error.answer()),
    }
    Ok(())
}

impl Exchange<'_, '_> {
    fn handle(&mut self, role: Role, code: RequestCode, request: Request<'_>) {
        match request {
            Request::Route(request) => routes::route(self, &request),
            Request::ClusterInfo => routes::cluster_info(self),
            Request::Admin(
                request @ (Admin::PutKv(_)
                | Admin::GetKv(_)
                | Admin::DeleteKv(_)
                | Admin::ListKv(_)
                | Admin::TopicNames
                | Admin::ClusterTopics(_)
                | Admin::ReservedNames),
            ) => names::answer(self, &request),
            Request::Registry(request) if role == Role::NameServer => {
                registry::answer(self, &request);
            }
            _ if role == Role::NameServer => self.not_supported(code),
            Request::Admin(request) => admin::answer(self, &request),
            Request::Inquiry(request) => inquiry::answer(self, &request),
            Request::Send(request) => send::send(self, &request),
            Request::SendReply(request) => replies::send(self, &request),
            Request::Pull(request) | Request::LitePull(request) => pull::pull(self, &request),
            Request::QueryMessage(request) => messages::query(self, &request),
            Request::ViewMessage(request) => messages::view(self, &request),
            Request::QueryConsumerOffset(request) => offsets::query(self, &request),
            Request::UpdateConsumerOffset(request) => offsets::update(self, &request),
            Request::GetMaxOffset(request) => offsets::max(self, &request),
            Request::GetMinOffset(request) => offsets::min(self, &request),
            Request::SearchOffset(request) => offsets::search(self, &request),
            Request::EarliestStoreTime(request) => offsets::earliest(self, &request),
            Request::Heartbeat(request) => clients::heartbeat(self, &request),
            Request::UnregisterClient(request) => clients::unregister(self, &request),
            Request::CheckClient(request) => clients::check(self, &request),
            Request::ConsumerList(request) => clients::list(self, &request),
            Request::Lock(request) => locks::lock(self, request),
            Request::Unlock(request) => locks::unlock(self, &request),
            Request::CreateTopic(request) => topics::create(self, &request),
            Request::Hello(_) => private::hello(self),
            Request::EnsureTopic(request) => private::ensure_topic(self, &request),
            Request::AppendGroup(request) => private::append_group(self, &request),
            Request::PullStored(request) => private::pull_stored(self, &request),
            Request::Filter(request) => filters::answer(self, &request),
            Request::SendBack(request) => letters::send_back(self, &request),
            Request::EndTransaction(request) => transactions::end(self, &request),
            Request::GroupChanged(_) | Request::Registry(_) | Request::Unknown(_) => {
                self.not_supported(code)
            }
        }
    }

    fn not_supported(&mut self, code: RequestCode) {
        // Tools look for this text.
        let remark = format!(" request type {} not supported", code.0);
        self.refuse(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark);
    }

    /// Answers now.
    pub(crate) fn answer(&mut self, answer: &impl Answer) {
        if self.mode == CallMode::Answered {
            let ReplyTo { kind, opaque, .. } = self.to;
            self.output.write(|out| answer.write(kind, opaque, out));
        }
    }

    /// Answers now with an error.
    pub(crate) fn refuse(&mut self, code: ResponseCode, remark: impl Into<String>) {
        self.answer(&Refused::new(code, remark.into()));
    }

    /// Answers now with what the engine refuses.
    pub(crate) fn refuse_as(&mut self, refusal: &Refusal) {
        if self.mode == CallMode::Answered {
            write_refusal(refusal, Dialect::RocketMq, self.to, self.output);
        }
    }

    /// The same to one of our own requests.
    pub(crate) fn refuse_own(&mut self, refusal: &Refusal) {
        if self.mode == CallMode::Answered {
            write_refusal(refusal, Dialect::Own, self.to, self.output);
        }
    }

    /// Hands a request to the engine; its answer is written when it comes.
    pub(crate) fn later(
        &mut self,
        awaited: Awaited,
        until_ms: Option<u64>,
        request: engine::Request<'_>,
    ) {
        let ticket = match self.mode {
            CallMode::Oneway => NOBODY,
            CallMode::Answered => {
                *self.in_flight += 1;
                let (to, is_held, topics) = (self.to, false, None);
                self.shell.waiting.add(Waiting { to, awaited, until_ms, is_held, topics })
            }
        };
        let Step { engine, now, out, .. } = &mut *self.step;
        let answered = out.answers.len();
        engine.handle(*now, self.caller, ticket, request, out);
        let topics = engine.topics_version();
        if topics != self.topics && self.shell.known.is_some() {
            self.shell.waiting.note_topics(ticket, topics);
        }
        match out.answers.get(answered) {
            Some((_, Answered::Found(found))) => {
                let entries = &found.plan.entries;
                self.shell.planned += entries.len();
                self.shell.planned_bytes +=
                    entries.iter().map(|entry| entry.size as usize).sum::<usize>();
            }
            None if matches!(awaited, Awaited::Records(_) | Awaited::Stored(_)) => {
                *self.held_pulls += 1;
                self.shell.waiting.note_held(ticket);
            }
            _ => {}
        }
    }

    /// Hands a pull to the engine that may wait for a message.
    pub(crate) fn pull_later(&mut self, awaited: Awaited, hold_ms: u64, pull: Pull<'_>) {
        let until_ms = (hold_ms > 0).then_some(self.step.now.mono_ms + hold_ms);
        let hold = match hold_ms {
            0 => PullHold::No,
            _ if *self.held_pulls >= self.shell.limits.held_pulls_max => PullHold::NoRoom,
            ms => PullHold::For(ms),
        };
        self.later(awaited, until_ms, engine::Request::Pull(Pull { hold, ..pull }));
    }

    /// Has the pulls of some groups and topics that wait asked again.
    pub(crate) fn ask_again(&mut self, is_meant: impl Fn(&str, &str) -> bool) {
        self.step.ask_again(&self.shell.shared.traffic, is_meant);
    }

    /// Hands a request to the engine whose answer nobody needs.
    pub(crate) fn tell(&mut self, request: engine::Request<'_>) {
        let Step { engine, now, out, .. } = &mut *self.step;
        engine.handle(*now, self.caller, NOBODY, request, out);
    }

    /// Asks the engine something that it answers at once.
    pub(crate) fn ask(&mut self, request: engine::Request<'_>) -> Result<Answered, Refusal> {
        ask(self.step, self.caller, request)
    }

    /// Leaves a request to the readers, which may wait for the disk.
    pub(crate) fn job(&mut self, work: impl FnOnce() -> Output + Send + 'static) {
        if self.mode != CallMode::Answered {
            return;
        }
        if self.shell.questions.len() >= self.shell.limits.questions_max {
            return self.refuse_as(&Refusal::Overloaded);
        }
        *self.in_flight += 1;
        let (to, asked_ms, work) = (self.to, self.step.now.mono_ms, Box::new(work));
        self.shell.questions.push_back(Question { to, asked_ms, work });
    }

    /// Leaves a request that changes the filters to the thread that does so.
    pub(crate) fn chore(&mut self, work: impl FnOnce() -> Output + Send + 'static) {
        if self.mode != CallMode::Answered {
            return;
        }
        if self.shell.chores.len() >= CHORES_MAX {
            return self.refuse_as(&Refusal::Overloaded);
        }
        *self.in_flight += 1;
        let (to, asked_ms, work) = (self.to, self.step.now.mono_ms, Box::new(work));
        self.shell.chores.push_back(Question { to, asked_ms, work });
    }
}

/// Asks the engine something that it answers at once.
pub(crate) fn ask(
    step: &mut Step<'_>,
    caller: &Caller,
    request: engine::Request<'_>,
) -> Result<Answered, Refusal> {
    let Step { engine, now, out, .. } = step;
    let before = out.answers.len();
    engine.handle(*now, caller, NOBODY, request, out);
    // It may have answered others as well, such as pulls that wait for what may be read no longer.
    let own = out.answers[before..].iter().position(|(ticket, _)| *ticket == NOBODY);
    match own.map(|n| out.answers.remove(before + n).1) {
        Some(Answered::Refused(refusal)) => Err(refusal),
        Some(answer) => Ok(answer),
        None => Ok(Answered::Done),
    }
}
