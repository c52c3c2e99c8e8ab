//! A floor: a program that only writes frames that another program has encoded.
//!
//! Sockets are numbered in the order of their arrival. Commands come over a control connection:
//! `first count frames`, and then `length bytes` for each frame, with 32-bit little-endian numbers.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use bytes::Bytes;
use rustix::event::epoll;
use rustix::io::retry_on_intr;
use serde_json::json;
use tokio::sync::mpsc;

use crate::Failed;
use crate::listen::listen;
use crate::record::say;

/// How the floor writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Style {
    /// One thread, one system call for each frame and socket.
    Write,
    /// One thread, with up to eight frames per system call.
    Writev8,
    /// A tokio task with a queue per socket, one system call for each frame.
    Tasks,
}

/// Serves until its control connection ends.
pub(crate) fn run(style: Style) -> Result<(), Failed> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (sockets, control) = (listen(any)?, TcpListener::bind(any)?);
    say(&json!({
        "address": sockets.local_addr()?.to_string(),
        "control": control.local_addr()?.to_string(),
    })
    .to_string());
    let (control, _) = control.accept()?;
    match style {
        Style::Write => threads(&sockets, control, 1),
        Style::Writev8 => threads(&sockets, control, 8),
        Style::Tasks => tasks(&sockets, control),
    }
}

/// What to write, and to whom.
struct FloorCommand {
    first: usize,
    count: usize,
    frames: Vec<Bytes>,
}

fn read_command(control: &mut TcpStream) -> io::Result<FloorCommand> {
    let mut number = || {
        let mut bytes = [0; 4];
        control.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(u32::from_le_bytes(bytes) as usize)
    };
    let (first, count, frames) = (number()?, number()?, number()?);
    let frame = |_| {
        let mut bytes = [0; 4];
        control.read_exact(&mut bytes)?;
        let mut frame = vec![0; u32::from_le_bytes(bytes) as usize];
        control.read_exact(&mut frame)?;
        Ok::<_, io::Error>(frame.into())
    };
    Ok(FloorCommand { first, count, frames: (0..frames).map(frame).collect::<Result<_, _>>()? })
}

/// One thread: accepts waiting sockets, or carries out a command.
fn threads(listener: &TcpListener, mut control: TcpStream, a_call: usize) -> Result<(), Failed> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watch = |fd: &dyn std::os::fd::AsFd, data| {
        epoll::add(&epoll, fd.as_fd(), epoll::EventData::new_u64(data), epoll::EventFlags::IN)
    };
    listener.set_nonblocking(true)?;
    watch(&listener, LISTENER)?;
    watch(&control, CONTROL)?;
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        // A process that is stopped and continued gets EINTR.
        retry_on_intr(|| epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None))?;
        for event in &events {
            match event.data.u64() {
                LISTENER => {
                    while let Ok((socket, _)) = listener.accept() {
                        socket.set_nodelay(true)?;
                        socket.set_nonblocking(true)?;
                        watch(&socket, sockets.len() as u64)?;
                        sockets.push(socket);
                    }
                }
                CONTROL => {
                    let Ok(command) = read_command(&mut control) else { return Ok(()) };
                    let to = sockets.iter_mut().skip(command.first).take(command.count);
                    to.for_each(|socket| write(socket, &command.frames, a_call));
                }
                // Clients send nothing, so this one has closed its connection.
                gone => {
                    if let Some(socket) = sockets.get(usize::try_from(gone)?) {
                        epoll::delete(&epoll, socket)?;
                    }
                }
            }
        }
    }
}

fn write(socket: &mut TcpStream, frames: &[Bytes], a_call: usize) {
    for frames in frames.chunks(a_call) {
        let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        let mut slices = &mut slices.clone()[..];
        while !slices.is_empty() {
            match socket.write_vectored(slices) {
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                // The socket has ended. The clients count what they receive.
                Err(_) => return,
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn tasks(listener: &TcpListener, mut control: TcpStream) -> Result<(), Failed> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    // A thread of its own reads the commands, because the reads block.
    let (tx, mut commands) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(command) = read_command(&mut control) {
            if tx.blocking_send(command).is_err() {
                return;
            }
        }
    });
    let mut queues: Vec<mpsc::UnboundedSender<Bytes>> = Vec::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                socket.set_nodelay(true)?;
                let (tx, mut frames) = mpsc::unbounded_channel::<Bytes>();
                queues.push(tx);
                tokio::spawn(async move {
                    use tokio::io::AsyncWriteExt as _;
                    let mut socket = socket;
                    while let Some(frame) = frames.recv().await {
                        if socket.write_all(&frame).await.is_err() {
                            return;
                        }
                    }
                });
            }
            command = commands.recv() => {
                let Some(command) = command else { return Ok(()) };
                for queue in queues.iter().skip(command.first).take(command.count) {
                    for frame in &command.frames {
                        let _gone = queue.send(frame.clone()).is_err();
                    }
                }
            }
        }
    }
}

const LISTENER: u64 = u64::MAX;
const CONTROL: u64 = u64::MAX - 1;
